/* Scripts that fetch and start something else. */

rule powershell_download_and_run
{
    meta:
        description = "PowerShell that downloads something and runs it at once"
        score = 600
        attack = "T1059.001, T1105"
    strings:
        $get1 = /\.Download(String|File|Data)\s{0,4}\(/ nocase
        $get2 = "Invoke-WebRequest" nocase
        $get3 = /\biwr\s/ nocase
        $get4 = "Start-BitsTransfer" nocase
        $web = "Net.WebClient" nocase
        $run1 = /\bIEX\b/ nocase
        $run2 = "Invoke-Expression" nocase
        $run3 = "Start-Process" nocase
        $hidden1 = /-w(indowstyle)?\s{1,4}hidden/ nocase
        $hidden2 = /-ex?e?c?(utionpolicy)?\s{1,4}bypass/ nocase
        $hidden3 = /-nop(rofile)?\b/ nocase
    condition:
        filesize < 1MB and (
            ($web and $get1 and any of ($run*))
            or (any of ($get*) and any of ($run*) and any of ($hidden*))
        )
}

rule powershell_encoded_command
{
    meta:
        description = "PowerShell with a long encoded command"
        score = 300
        attack = "T1059.001, T1027.010"
    strings:
        $a = /powershell(\.exe)?["']?\s[^\r\n]{0,120}-e(nc|c|ncodedcommand)?\s{1,4}["']?[A-Za-z0-9+\/]{60}/ nocase
    condition:
        filesize < 1MB and $a
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

rule lnk_starts_script_host
{
    meta:
        description = "Shortcut that starts a script interpreter with arguments"
        score = 600
        attack = "T1204.002, T1547.009"
    strings:
        $a = "powershell" nocase ascii wide
        $b = "mshta" nocase ascii wide
        $c = "wscript" nocase ascii wide
        $d = "cmd.exe" nocase ascii wide
        $arg1 = "http" nocase ascii wide
        $arg2 = "-enc" nocase ascii wide
        $arg3 = "hidden" nocase ascii wide
        $arg4 = "/c " nocase ascii wide
    condition:
        uint32(0) == 0x0000004C and uint32(4) == 0x00021401 and any of ($a, $b, $c, $d) and any of ($arg*)
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
