"""System calls by name for the two machines that functions run on, and who may make which."""

from __future__ import annotations

import ctypes
import functools
import os

# name: (x86_64, aarch64); None where that machine has no such call.
# Source: Linux 6.1, asm/unistd_64.h and asm-generic/unistd.h.
_READING = """access 21 - arch_prctl 158 - brk 12 214 clock_getres 229 114 clock_gettime 228 113
clock_nanosleep 230 115 close 3 57 close_range 436 436 dup 32 23 dup2 33 - dup3 292 24
epoll_create1 291 20 epoll_ctl 233 21 epoll_pwait 281 22 epoll_wait 232 - eventfd2 290 19 exit 60 93
exit_group 231 94 faccessat 269 48 faccessat2 439 439 fadvise64 221 223 fstat 5 80 fstatfs 138 44
futex 202 98 getcpu 309 168 getcwd 79 17 getdents64 217 61 getegid 108 177 geteuid 107 175
getgid 104 176 getgroups 115 158 getitimer 36 102 getpeername 52 205 getpgrp 111 - getpid 39 172
getppid 110 173 getpriority 140 141 getrandom 318 278 getresgid 120 150 getresuid 118 148
getrlimit 97 163 getrusage 98 165 getsid 124 156 getsockname 51 204 getsockopt 55 209 gettid 186 178
gettimeofday 96 169 getuid 102 174 lseek 8 62 lstat 6 - madvise 28 233
membarrier 324 283 mincore 27 232 mlock 149 228 mmap 9 222 mprotect 10 226 mremap 25 216
munlock 150 229 munmap 11 215 nanosleep 35 101 newfstatat 262 79 pipe 22 - pipe2 293 59 poll 7 -
ppoll 271 73 pread64 17 67 preadv 295 69 pselect6 270 72 pwrite64 18 68 read 0 63 readlink 89 -
readlinkat 267 78 readv 19 65 recvfrom 45 207 recvmsg 47 212 restart_syscall 219 128 rseq 334 293
rt_sigaction 13 134 rt_sigpending 127 136 rt_sigprocmask 14 135 rt_sigreturn 15 139
rt_sigsuspend 130 133 rt_sigtimedwait 128 137 sched_getaffinity 204 123 sched_getparam 143 121
sched_getscheduler 145 120 sched_yield 24 124 select 23 - sendmsg 46 211 sendto 44 206
set_robust_list 273 99 set_tid_address 218 96 setitimer 38 103 setsockopt 54 208 shutdown 48 210
sigaltstack 131 132 stat 4 - statfs 137 43 statx 332 291 sysinfo 99 179 time 201 -
timer_create 222 107 timer_delete 226 111 timer_settime 223 110 times 100 153 umask 95 166
uname 63 160 write 1 64 writev 20 66"""

_WRITING = """chdir 80 49 chmod 90 - copy_file_range 326 285 fallocate 285 47 fchdir 81 50
fchmod 91 52 fchmodat 268 53 flock 73 32 fsync 74 82 ftruncate 77 46 utimensat 280 88"""

_STARTING = """execve 59 221 execveat 322 281"""

_REFUSED = """accept 43 202 accept4 288 242 add_key 248 217 bind 49 200 bpf 321 280 capset 126 91
chroot 161 51 connect 42 203 fork 57 - io_uring_setup 425 425 keyctl 250 219
landlock_add_rule 445 445 landlock_create_ruleset 444 444 link 86 - linkat 265 37 listen 50 201
memfd_create 319 279 mkdir 83 - mkdirat 258 34 mknod 133 - mknodat 259 33 mount 165 40
msgget 68 186 perf_event_open 298 241 pidfd_getfd 438 438 pidfd_open 434 434
pidfd_send_signal 424 424 pivot_root 155 41 process_vm_readv 310 270 process_vm_writev 311 271
ptrace 101 117 rename 82 - renameat 264 38 renameat2 316 276 request_key 249 218 rmdir 84 -
rt_sigqueueinfo 129 138 rt_tgsigqueueinfo 297 240 seccomp 317 277 semget 64 190 setgid 106 144
setgroups 116 159 setns 308 268 setpgid 109 154 setresgid 119 149 setresuid 117 147 setsid 112 157
setuid 105 146 shmat 30 196 shmget 29 194 socket 41 198 socketpair 53 199 symlink 88 -
symlinkat 266 36 tkill 200 130 umount2 166 39 unlink 87 - unlinkat 263 35 unshare 272 97
userfaultfd 323 282 vfork 58 -"""

_ARGUED = """clone 56 220 clone3 435 435 fcntl 72 25 ioctl 16 29 kill 62 129 open 2 - openat 257 56
prctl 157 167 prlimit64 302 261 tgkill 234 131"""

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""By `os.uname().machine`: the column above, and the kernel's AUDIT_ARCH (linux/audit.h)."""


def _table(text: str) -> dict[str, int]:
    words = text.split()
    column = MACHINES[os.uname().machine][0]
    rows = {words[at]: words[at + 1 + column] for at in range(0, len(words), 3)}
    return {name: int(number) for name, number in rows.items() if number != "-"}


def supported() -> bool:
    """True on a machine whose numbers are known here."""
    return os.uname().sysname == "Linux" and os.uname().machine in MACHINES


def reading() -> dict[str, int]:
    """What every child may do: compute, read, wait, and write to what it has open."""
    return _table(_READING)


def writing() -> dict[str, int]:
    """What a tool may do beside that, in its own folder.

    It makes no folders there and takes nothing away: what it writes can be counted, and removed at once.
    """
    return _table(_WRITING)


def starting() -> dict[str, int]:
    """How a tool's child becomes the tool; Landlock says which programs."""
    return _table(_STARTING)


def refused() -> dict[str, int]:
    """What is answered with EPERM; every call named nowhere is answered as if it did not exist."""
    return _table(_REFUSED)


def argued() -> dict[str, int]:
    """What depends on its arguments."""
    return _table(_ARGUED)


@functools.cache
def libc() -> ctypes.CDLL:
    """The C library, with errno kept."""
    return ctypes.CDLL(None, use_errno=True)


def failure(what: str) -> OSError:
    """The last call's errno as an exception."""
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
