/* Scripts that fetch and start something else. */

rule powershell_download_and_run
{
    meta:
        description = "PowerShell that downloads something and runs it at once"
        score = 600
        attack = "T1059.001, T1105"
    strings:
        // on one line or in one pipe: words far apart stand in many harmless files
        $pipe = /\b(iwr|irm|curl|wget|Invoke-WebRequest|Invoke-RestMethod|DownloadString)\b[^\r\n|]{1,400}\|\s{0,8}(&\s{0,4})?(iex|Invoke-Expression)\b/ nocase
        $call = /\b(iex|Invoke-Expression)\b\s{0,4}[^\r\n]{0,80}\b(iwr|irm|Invoke-WebRequest|Invoke-RestMethod|Net\.WebClient|DownloadString|DownloadData|OpenRead)\b/ nocase
        $text = /DownloadString\s{0,4}\([^\r\n]{1,300}\)\s{0,4}\)?\s{0,4}[;|\r\n][^\r\n]{0,200}\b(iex|Invoke-Expression)\b/ nocase
        $save = /\b(iwr|irm|curl|wget|Invoke-WebRequest|Invoke-RestMethod|Start-BitsTransfer|DownloadFile)\b[^\r\n;|]{1,400}[;\r\n&]{1,4}\s{0,8}(&|start|start-process|saps|Invoke-Item|ii|\.)\s{1,4}(-FilePath\s{1,4})?["'(]{0,2}[$%.\\A-Za-z]/ nocase
        $web = /https?:\/\/|\$\w/ nocase
        // documentation quotes such lines
        $fence = /[\r\n]\s{0,8}```/
        $heading = /(^|[\r\n])#{1,4} [A-Z]/
        $paragraph = /<\/(p|li|pre|code|h[1-4])>/ nocase
        $field = /[\r\n][a-z_]{2,20}:\s/
    condition:
        filesize < 1MB and $web and any of ($pipe, $call, $text, $save)
        and not (#fence > 1 and $heading) and #paragraph < 3 and not (#field > 5 and $field in (0 .. 64))
}

rule powershell_encoded_command
{
    meta:
        description = "PowerShell with a long encoded command"
        score = 300
        attack = "T1059.001, T1027.010"
    strings:
        $a = /(powershell|pwsh)(\.exe)?["']?\s[^\r\n]{0,200}[-\/]e[ncodedma]{0,13}\s{1,4}["']?[A-Za-z0-9+\/]{40}/ nocase ascii wide
    condition:
        filesize < 1MB and $a
}

rule powershell_switches_protection_off
{
    meta:
        description = "PowerShell that blinds the anti-malware interface or event tracing, or excludes itself from scans"
        score = 600
        attack = "T1562.001, T1059.001"
    strings:
        $amsi1 = "amsiInitFailed" nocase ascii wide
        $amsi2 = /AmsiUtils["'][^\r\n]{0,200}(GetField|SetValue)/ nocase ascii wide
        $amsi3 = /AmsiScanBuffer[^;]{0,2000}(VirtualProtect|WriteProcessMemory|Marshal\]?::Copy)/ nocase
        $etw = /EtwEventWrite[^;]{0,2000}(VirtualProtect|WriteProcessMemory|Marshal\]?::Copy)/ nocase
        $exclusion = /[\r\n;|{("' ]\s{0,8}(Add|Set)-MpPreference\s[^\r\n]{0,80}-Exclusion(Path|Process|Extension)\s{1,4}["'$A-Za-z*]/ nocase ascii wide
        $realtime = /Set-MpPreference\s[^\r\n]{0,80}-Disable(RealtimeMonitoring|IOAVProtection|ScriptScanning|BehaviorMonitoring)\s{1,4}(\$true|1)/ nocase ascii wide
    condition:
        filesize < 512KB and any of them
}

rule powershell_loads_packed_assembly
{
    meta:
        description = "PowerShell that loads a program out of encoded text into its own process"
        score = 600
        attack = "T1620, T1059.001"
    strings:
        $load = /(Reflection\.)?Assembly\]?\s{0,4}(::|\.)\s{0,4}Load\s{0,4}\(/ nocase
        $decode1 = "FromBase64String" nocase
        $decode2 = "GZipStream" nocase
        $decode3 = "DeflateStream" nocase
        $run = /(\.EntryPoint|\.Invoke\s{0,4}\(|\.GetMethod\s{0,4}\(|::Main\s{0,4}\()/ nocase
    condition:
        filesize < 30MB and $load and any of ($decode*) and $run
}

rule script_shell_dropper
{
    meta:
        description = "Windows script that fetches a file, saves it and starts it"
        score = 600
        attack = "T1059.005, T1059.007, T1105"
    strings:
        $shell = "WScript.Shell" nocase
        $get1 = "MSXML2.XMLHTTP" nocase
        $get2 = "Microsoft.XMLHTTP" nocase
        $get3 = "WinHttp.WinHttpRequest" nocase
        $save = "ADODB.Stream" nocase
        $run = /\.Run\s{0,4}[(" ]/ nocase
        $exec = /\.Exec\s{0,4}\(/ nocase
    condition:
        filesize < 1MB and $shell and any of ($get*) and ($save or $run or $exec)
}

rule batch_downloads_with_system_tool
{
    meta:
        description = "Command line that downloads with a tool of the system"
        score = 600
        attack = "T1105, T1218"
    strings:
        $a = /certutil(\.exe)?\s[^\r\n]{0,60}-urlcache\s[^\r\n]{0,80}https?:\/\// nocase
        $b = /bitsadmin(\.exe)?\s[^\r\n]{0,80}\/transfer\s[^\r\n]{0,120}https?:\/\// nocase
        $c = /mshta(\.exe)?\s{1,4}["']?(https?:\/\/|javascript:|vbscript:)/ nocase
        $d = /regsvr32(\.exe)?\s[^\r\n]{0,60}\/i:https?:\/\// nocase
    condition:
        filesize < 1MB and any of them
}

rule batch_downloads_and_starts
{
    meta:
        description = "Batch file that fetches a file and starts it"
        score = 600
        attack = "T1059.003, T1105"
    strings:
        $a = /\b(curl|wget|bitsadmin|certutil)(\.exe)?\s[^\r\n&]{0,200}https?:\/\/[^\r\n&]{1,200}(&&?|\r?\n(\s{0,80}(timeout|ping|echo|set|attrib)\s[^\r\n]{0,200}\r?\n){0,4})\s{0,8}(start|call|rundll32|regsvr32|msiexec|cmd|powershell|wscript|cscript|mshta|%\w{1,30}%)[\s\\\/"]/ nocase
    condition:
        filesize < 1MB and $a
}

rule script_runs_system_program
{
    meta:
        description = "Windows script that starts a shell or a program of the system"
        score = 300
        attack = "T1059.005, T1059.007"
    strings:
        $object = /(CreateObject|ActiveXObject|GetObject)\s{0,4}\(\s{0,4}["'](W?Script\.Shell|Shell\.Application|new:\{?(72C24DD5-D70A-438B-8A42-98424B88AFB8|F935DC22-1CF0-11D0-ADB9-00C04FD58A0B|13709620-C279-11CE-A49E-444553540000)|winmgmts:)/ nocase ascii wide
        $class = /(72C24DD5-D70A-438B-8A42-98424B88AFB8|F935DC22-1CF0-11D0-ADB9-00C04FD58A0B)/ nocase ascii wide
        $run = /\.\s{0,4}(Run|Exec|ShellExecute|Create)\b[\s(]{0,8}["'`][^\r\n]{0,60}(cmd|powershell|pwsh|mshta|rundll32|regsvr32|wscript|cscript|certutil|bitsadmin|curl|msiexec|schtasks|calc|\.exe)/ nocase ascii wide
    condition:
        filesize < 1MB and ($object or $class) and $run
}

rule script_is_encoded
{
    meta:
        description = "Script in the encoded form of JScript and VBScript"
        score = 300
        attack = "T1027.010"
    strings:
        $begin = /#@~\^[A-Za-z0-9+\/]{6}==/ ascii wide
        $end = "^#~@" ascii wide
    condition:
        filesize < 30MB and $begin and $end
}

rule deletes_backups
{
    meta:
        description = "Commands that delete shadow copies and backups, and switch recovery off"
        score = 600
        attack = "T1490"
    strings:
        $a = /vssadmin(\.exe)?["']?\s{1,4}(delete\s{1,4}shadows|resize\s{1,4}shadowstorage)/ nocase ascii wide
        $b = /wmic(\.exe)?["']?\s{1,4}shadowcopy\s{1,4}(delete|where)/ nocase ascii wide
        $c = /wbadmin(\.exe)?["']?\s{1,4}delete\s{1,4}(catalog|systemstatebackup|backup)/ nocase ascii wide
        $d = /bcdedit(\.exe)?["']?\s[^\r\n]{0,60}(recoveryenabled\s{1,4}no|bootstatuspolicy\s{1,4}ignoreallfailures)/ nocase ascii wide
        $e = /Win32_Shadowcopy[^\r\n]{0,120}(Delete\s{0,4}\(|Remove-(Cim|Wmi))/ nocase ascii wide
        $f = /fsutil(\.exe)?\s{1,4}usn\s{1,4}deletejournal/ nocase ascii wide
    condition:
        filesize < 128KB and 2 of them
}

rule shell_reverse_connection
{
    meta:
        description = "Shell or Python one-liner that hands a shell to a remote host"
        score = 600
        attack = "T1059.004, T1059.006"
    strings:
        $bash = /(ba)?sh\s{1,4}-i\s{0,4}[0-9]?>&?\s{0,4}\/dev\/tcp\/[0-9A-Za-z.-]{3,80}\/[0-9]{1,5}/
        $nc = /\bnc(at)?\s{1,4}(-[a-z]{1,4}\s{1,4}){0,3}-e\s{1,4}\/bin\/(ba)?sh/
        $fifo = /mkfifo\s[^\r\n]{1,80}\|\s{0,4}\/bin\/(ba)?sh\s{1,4}-i[^\r\n]{1,80}\|\s{0,4}nc\s/
        $py1 = ".connect(("
        $py2 = /os\.dup2\(\w{1,20}\.fileno\(\),\s{0,4}[012]\)/
        $py3 = /(subprocess\.(call|Popen)\(\[|pty\.spawn\()["']\/bin\/(ba)?sh/
    condition:
        filesize < 1MB and ($bash or $nc or $fifo or ($py1 and $py2 and $py3))
}

rule script_hands_shell_to_other_host
{
    meta:
        description = "Script that connects to another host and gives it a shell"
        score = 600
        attack = "T1059, T1095"
    strings:
        $py1 = /\.connect(_ex)?\s{0,4}\(\s{0,4}\(/
        $py2 = /os\.dup2\s{0,4}\(\s{0,4}\w{1,20}\.fileno\(\)/
        $py3 = /(subprocess\.(call|Popen|run)|pty\.spawn|os\.(system|execl|execv|popen))\s{0,4}\(/
        $perl1 = /use\s{1,4}Socket\s{0,4};|IO::Socket::INET/
        $perl2 = /open\s{0,4}\(\s{0,4}STD(IN|OUT)\s{0,4},\s{0,4}["']>&/
        $perl3 = /exec\s{0,4}[({]?\s{0,4}["']\/bin\/(ba)?sh/
        $php1 = /\b(fsockopen|stream_socket_client|socket_connect)\s{0,4}\(/ nocase
        $php2 = /\b(exec|shell_exec|system|passthru|popen|proc_open)\s{0,4}\(\s{0,4}["'](\/bin\/)?(ba)?sh\s{1,4}-i/ nocase
        $ps1 = /Net\.Sockets\.TCPClient\s{0,4}\(/ nocase
        $ps2 = ".GetStream()" nocase
        $ps3 = /\b(iex|Invoke-Expression)\b/ nocase
        $ruby = /TCPSocket\.(new|open)\s{0,4}\([^\r\n]{0,200}exec\s{0,4}[(\s]\s{0,4}(sprintf\s{0,4}\()?["'](\/bin\/)?(ba)?sh/
        $socat = /\bsocat\s[^\r\n]{0,120}exec:\s{0,4}["']?(ba)?sh/ nocase
        $telnet = /\btelnet\s[^\r\n|]{1,80}\|\s{0,4}\/bin\/(ba)?sh\s{0,4}\|\s{0,4}telnet/
        $tcp = /(exec\s{1,4}\d{1,2}<>|0<&\d{1,3}-?;?\s{0,4}exec\s)[^\r\n]{0,60}\/dev\/(tcp|udp)\//
        $node = /net\.(Socket|connect|createConnection)\s{0,4}\([^;]{0,400}(\.pipe\s{0,4}\(\s{0,4}\w{1,20}\.stdin|spawn\s{0,4}\(\s{0,4}["']\/bin\/(ba)?sh)/
    condition:
        filesize < 1MB and (
            ($py1 and $py2 and $py3) or ($perl1 and $perl2 and $perl3) or ($php1 and $php2)
            or ($ps1 and $ps2 and $ps3) or $ruby or $socat or $telnet or $tcp or $node
        )
}

rule shell_downloads_and_runs
{
    meta:
        description = "Shell script that runs what it fetches without encryption, or from a place for temporary files"
        score = 300
        attack = "T1059.004, T1105"
    strings:
        $pipe = /\b(curl|wget)\s[^\r\n|;]{0,200}(http:\/\/|[\s"'](\d{1,3}\.){3}\d{1,3}[:\/])[^\r\n|;]{1,200}\|\s{0,4}(sudo\s{1,4})?(\/bin\/)?(ba|da|z|k|a)?sh\b/
        $quiet = /\b(curl|wget)\s[^\r\n|;]{0,200}(\d{1,3}\.){3}\d{1,3}[^\r\n|;]{1,200}[|;]\s{0,4}(sudo\s{1,4})?((ba|da)?sh|python3?|perl)\b/
        $mode = /\b(curl|wget|tftp|ftpget)\s[^\r\n]{1,300}(\/tmp\/|\/dev\/shm\/|\/var\/tmp\/|\/var\/run\/)[^\r\n]{0,200}[\r\n;&]{1,4}\s{0,8}chmod\s{1,4}(\+x|a\+x|u\+x|[0-7]{3,4})\s{1,4}/
        $decode = /base64\s{1,4}(-d|-D|--decode)[^\r\n|]{0,60}\|\s{0,4}(sudo\s{1,4})?(\/bin\/)?(ba|da|z|k)?sh\b/
        $fence = /[\r\n]\s{0,8}```/
        $paragraph = /<\/(p|li|pre|code|h[1-4])>/ nocase
    condition:
        filesize < 512KB and any of ($pipe, $quiet, $mode, $decode) and #fence < 2 and #paragraph < 3
}

rule shell_stays_by_preload_or_cron
{
    meta:
        description = "Shell script that has a library loaded into every program, or fetches and runs something by cron"
        score = 600
        attack = "T1574.006, T1053.003"
    strings:
        $preload = /(>>?|tee(\s{1,4}-a)?)\s{0,4}\/etc\/ld\.so\.preload/
        $cron = /\*\s{1,4}\*\s{1,4}\*[^\r\n]{0,80}\b(curl|wget)\s[^\r\n|]{1,200}\|\s{0,4}(ba)?sh\b/
    condition:
        filesize < 512KB and any of them
}

rule python_runs_packed_code
{
    meta:
        description = "Python that unpacks its code and runs it"
        score = 600
        attack = "T1027, T1059.006"
    strings:
        $a = /\b(exec|eval)\s{0,4}\(\s{0,4}(compile\s{0,4}\(\s{0,4})?(__import__\s{0,4}\(\s{0,4}["'](zlib|base64|marshal|codecs)["']\s{0,4}\)|zlib|base64|marshal|codecs|bz2|lzma|gzip)\s{0,4}\.\s{0,4}(decompress|b64decode|b32decode|b85decode|a85decode|loads|decode)\s{0,4}\(/
        $b = /\b(exec|eval)\s{0,4}\(\s{0,4}(\w{1,20}\s{0,4}\(\s{0,4}){0,3}(b64decode|b85decode|decompress)\s{0,4}\(\s{0,4}b?["'][A-Za-z0-9+\/=_-]{60}/
        $c = /\b(exec|eval)\s{0,4}\(\s{0,4}(requests\.get|urllib\.request\.urlopen|urlopen)\s{0,4}\([^\r\n]{1,200}\)/
    condition:
        filesize < 8MB and any of them
}

rule pickle_runs_code
{
    meta:
        description = "Pickle that calls a function of the system when it is loaded"
        score = 1000
        attack = "T1059.006, T1195"
    strings:
        $text = /c(os|posix|nt|subprocess|pty|commands|builtins|__builtin__|runpy|socket|shutil|importlib|webbrowser)\n(system|popen|exec\w{0,4}|spawn\w{0,6}|eval|compile|__import__|Popen|call|check_call|check_output|run|getoutput|run_module|run_path|rmtree|import_module|open|create_connection)\n/
        $binary = /\x8c[\x02-\x0b](os|posix|nt|subprocess|pty|commands|builtins|runpy|socket|shutil|importlib|webbrowser)\x94?\x8c[\x03-\x11](system|popen|exec\w{0,4}|spawn\w{0,6}|eval|compile|__import__|Popen|call|check_call|check_output|run|getoutput|run_module|run_path|rmtree|import_module|open|create_connection)\x94?\x93/
        $end = "."
    condition:
        any of ($text, $binary) and $end at filesize - 1
}
