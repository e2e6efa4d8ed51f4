/* Small files that the shell of an operating system follows: shortcuts, settings, remote desktops, installers. */

rule url_file_to_another_host
{
    meta:
        description = "Internet shortcut that opens a file of another host"
        score = 300
        attack = "T1204.002, T1187"
    strings:
        $head = "[InternetShortcut]" nocase ascii wide
        $file = /URL\s{0,4}=\s{0,4}["']?(file:(\/\/){1,2}[\w\[]|file:\/\/\/?\\\\|\\\\)[^\r\n\/\\]{1,200}[\/\\]/ nocase ascii wide
        $local = /URL\s{0,4}=\s{0,4}["']?file:\/\/\/?(localhost\/|[a-z]:|[a-z]\|)/ nocase ascii wide
    condition:
        filesize < 64KB and $head and $file and not $local
}

rule shell_file_icon_from_another_host
{
    meta:
        description = "Shortcut whose icon is fetched from another host, which is told the user's credentials"
        score = 300
        attack = "T1187"
    strings:
        $head1 = "[InternetShortcut]" nocase ascii wide
        $head2 = "[Shell]" nocase ascii wide
        $head3 = "[.ShellClassInfo]" nocase ascii wide
        $icon = /Icon(File|Resource)\s{0,4}=\s{0,4}["']?(\\\\|\/\/|https?:|file:\/\/[^\/])/ nocase ascii wide
    condition:
        filesize < 64KB and any of ($head*) and $icon
}

rule library_or_search_of_another_host
{
    meta:
        description = "Windows library or saved search that shows the files of another host"
        score = 300
        attack = "T1187, T1204.002"
    strings:
        $library = "<libraryDescription" nocase ascii wide
        $search = /<persistedQuery|<searchConnectorDescription/ nocase ascii wide
        $place = /<(url|location|path)[^>]{0,80}>\s{0,20}(\\\\|file:\/\/|https?:\/\/)/ nocase ascii wide
        $attribute = /path\s{0,4}=\s{0,4}["'](\\\\|https?:\/\/)/ nocase ascii wide
    condition:
        filesize < 256KB and ($library or $search) and ($place or $attribute)
}

rule settings_link_runs_program
{
    meta:
        description = "Windows settings shortcut whose link starts a program"
        score = 600
        attack = "T1204.002, T1218"
    strings:
        $head = "<PCSettings" nocase ascii wide
        $link = /<DeepLink>\s{0,20}[^<]{0,200}(cmd|powershell|pwsh|mshta|rundll32|regsvr32|wscript|cscript|curl|msiexec|forfiles|conhost|\.exe|\.js|\.vbs|\.hta|\\\\)/ nocase ascii wide
    condition:
        filesize < 256KB and $head and $link
}

rule autorun_starts_program
{
    meta:
        description = "autorun.inf that starts a program"
        score = 300
        attack = "T1091"
    strings:
        $head = /\[autorun(\.\w{1,20})?\]/ nocase ascii wide
        $open = /[\r\n]\s{0,8}(open|shellexecute|shell\\[^\r\n=]{1,60}\\command)\s{0,4}=\s{0,4}[^\r\n]{2}/ nocase ascii wide
    condition:
        filesize < 64KB and $head and $open
}

rule rdp_file_shares_drives
{
    meta:
        description = "Remote desktop file that gives another host this machine's drives, clipboard or cards"
        score = 300
        attack = "T1204.002, T1021.001"
    strings:
        $address = "full address:s:" nocase ascii wide
        $drives1 = "redirectdrives:i:1" nocase ascii wide
        $drives2 = /drivestoredirect:s:\s{0,2}[^\s]/ nocase ascii wide
        $program = /(remoteapplicationprogram|alternate shell):s:\s{0,2}[^\s]/ nocase ascii wide
    condition:
        filesize < 256KB and $address and (any of ($drives*) or $program)
}

rule msc_runs_script
{
    meta:
        description = "Management console file that runs script (GrimResource)"
        score = 1000
        attack = "T1218.014, T1059.007"
    strings:
        $head = "<MMC_ConsoleFile" nocase ascii wide
        $script1 = "apds.dll/redirect.html" nocase ascii wide
        $script2 = /javascript\s{0,4}:\s{0,4}(eval|external|document|window|\()/ nocase ascii wide
        $script3 = "ScopeNamespace" nocase ascii wide
    condition:
        filesize < 8MB and $head and any of ($script*)
}

rule msc_runs_command
{
    meta:
        description = "Management console file whose task starts a program with arguments"
        score = 300
        attack = "T1218.014"
    strings:
        $head = "<MMC_ConsoleFile" nocase ascii wide
        $task = /<CommandLine[^>]{0,400}(cmd|powershell|mshta|rundll32|wscript|curl)/ nocase ascii wide
    condition:
        filesize < 8MB and $head and $task
}

rule clickonce_from_the_web
{
    meta:
        description = "ClickOnce manifest that installs a program from the web"
        score = 300
        attack = "T1204.002, T1127.002"
    strings:
        $head = /<\w{0,12}:?assembly[\s>]/ nocase ascii wide
        $provider = /<\w{0,12}:?deploymentProvider\s[^>]{0,200}codebase\s{0,4}=\s{0,4}["'](https?|file):/ nocase ascii wide
    condition:
        filesize < 1MB and $head and $provider
}

rule jnlp_with_all_permissions
{
    meta:
        description = "Java Web Start file that asks for all permissions"
        score = 300
        attack = "T1204.002"
    strings:
        $head = /<jnlp[\s>]/ nocase ascii wide
        $all = /<all-permissions\s{0,4}\/?>/ nocase ascii wide
        $web = /codebase\s{0,4}=\s{0,4}["']https?:/ nocase ascii wide
    condition:
        filesize < 1MB and $head and $all and $web
}

rule desktop_entry_runs_shell_code
{
    meta:
        description = "Desktop entry whose command is shell code, or fetches something"
        score = 600
        attack = "T1204.002, T1059.004"
    strings:
        $head = "[Desktop Entry]"
        $run = /[\r\n]Exec\s{0,4}=[^\r\n]{0,200}(\bcurl\s|\bwget\s|base64\s{1,4}-(d|-decode)|\/dev\/tcp\/|python3?\s{1,4}-c|perl\s{1,4}-e|\|\s{0,4}(ba)?sh\b)/
    condition:
        filesize < 256KB and $head and $run
}

rule web_query_file
{
    meta:
        description = "Excel web query that fetches data from the web"
        score = 300
        attack = "T1204.002, T1105"
    strings:
        $query = /WEB\r?\n1\r?\nhttps?:\/\// nocase
    condition:
        filesize < 64KB and $query in (0 .. 8)
}

rule slk_runs_program
{
    meta:
        description = "Symbolic link spreadsheet with a macro that runs a program"
        score = 600
        attack = "T1204.002, T1059"
    strings:
        $head = "ID;P"
        $run = /[\r\n][A-Z][^\r\n]{0,200};E[^\r\n]{0,200}(EXEC|CALL|REGISTER|FOPEN|RUN)\s{0,4}\(/ nocase
    condition:
        filesize < 8MB and $head in (0 .. 8) and $run
}

rule csv_formula_runs_or_fetches
{
    meta:
        description = "Table as text with a formula that starts a program or talks to another host"
        score = 300
        attack = "T1204.002, T1559.002"
    strings:
        $dde = /(^|[,;\t\r\n"])[=+\-@]{1,3}[^\r\n]{0,60}(cmd|powershell|mshta|MSEXCEL|rundll32|regsvr32)(\.exe)?\s{0,4}\|\s{0,4}['"]/ nocase
        $fetch = /(^|[,;\t\r\n"])[=+\-@]{1,3}\s{0,4}(WEBSERVICE|IMPORTXML|IMPORTDATA|IMPORTHTML|IMPORTFEED|IMAGE)\s{0,4}\(\s{0,4}(CONCATENATE\s{0,4}\(\s{0,4})?"{1,2}(https?:)?\/\// nocase
    condition:
        filesize < 8MB and any of them
}

rule registry_file_starts_script_host
{
    meta:
        description = "Registry file that has a script or shell started with each logon"
        score = 300
        attack = "T1547.001"
    strings:
        $head = /Windows Registry Editor Version 5|REGEDIT4/ ascii wide
        $key = /\[HK[A-Z_]{2,20}\\[^\]\r\n]{0,200}\\(Run|RunOnce|Winlogon|Image File Execution Options\\[^\]\r\n]{1,60})\]/ nocase ascii wide
        $run = /=\s{0,4}"[^\r\n]{0,300}(powershell|mshta|wscript|cscript|rundll32|regsvr32|cmd(\.exe)?\s{1,4}\/c|\\Temp\\|\\AppData\\)/ nocase ascii wide
    condition:
        filesize < 1MB and $head and $key and $run
}

rule inf_runs_scriptlet
{
    meta:
        description = "Setup information file that runs a scriptlet or a command"
        score = 600
        attack = "T1218.003, T1218.010"
    strings:
        $head = /\[DefaultInstall(_SingleUser)?\]/ nocase ascii wide
        $script = /(scrobj\.dll|UnRegisterOCXs|RegisterOCXs|RunPreSetupCommands|RunPostSetupCommands)/ nocase ascii wide
        $what = /(https?:\/\/|powershell|mshta|cmd(\.exe)?\s{1,4}\/c|\.sct\b)/ nocase ascii wide
    condition:
        filesize < 256KB and $head and $script and $what
}

rule lnk_starts_script_host
{
    meta:
        description = "Shortcut that starts a shell, a script interpreter or a loader with arguments"
        score = 600
        attack = "T1204.002, T1059"
    strings:
        $program = /\b(powershell|pwsh|mshta|wscript|cscript|cmd|conhost|forfiles|pcalua|bash|wsl|ssh|scp|curl|certutil|bitsadmin|regsvr32|wmic|msbuild|installutil|regasm|finger|hh|node|python[w3]?)(\.exe)?\b/ nocase ascii wide
        $argument1 = "http" nocase ascii wide
        $argument2 = /[-\/]e(nc?|ncodedcommand)?\s/ nocase ascii wide
        $argument3 = "hidden" nocase ascii wide
        $argument4 = /\/[ckr]\s{0,4}\S/ nocase ascii wide
        $argument5 = /-(c|command|f|file|ep|executionpolicy|nop|noprofile|w)\s/ nocase ascii wide
        $argument6 = /(javascript|vbscript):/ nocase ascii wide
        $argument7 = /\.(js|jse|vbs|vbe|wsf|hta|ps1|bat|cmd|sct|scr|py|au3|a3x)\b/ nocase ascii wide
        $argument8 = /[\s"]\\\\[\w.@-]{3,80}\\/ nocase ascii wide
        $argument9 = "proxycommand" nocase ascii wide
    condition:
        uint32(0) == 0x0000004C and uint32(4) == 0x00021401 and $program and any of ($argument*)
}

rule lnk_loads_library
{
    meta:
        description = "Shortcut that has a library of its own folder or of another host loaded"
        score = 600
        attack = "T1204.002, T1218.011"
    strings:
        $loader = /\b(rundll32|regsvr32|msiexec|control|odbcconf|mavinject)(\.exe)?\b/ nocase ascii wide
        $other = /\\\\[\w.@-]{3,80}\\[^\x00]{1,200}/ nocase ascii wide
        $entry = /[\w.-]{1,60}\.(dll|dat|tmp|db|log|png|jpg|txt|ocx|cpl|bin|msi)["']?\s{0,3},\s{0,3}#?\w{1,60}/ nocase ascii wide
        $system = /(shell32|user32|printui|powrprof|inetcpl|desk|main|timedate|sysdm|mmsys|appwiz|netplwiz|shimgvw|zipfldr|photoviewer|van|dfshim|fontext|cryptext|syssetup|setupapi|advpack|ieframe|url|mshtml|devmgr|ntlanui2?|netid|keymgr|wininet|display|themecpl|srchadmin|hgcpl|ntshrui|shdocvw|dsquery|stobject|tapi32|xwizards|pnpui)\.(dll|cpl)["']?\s{0,3},/ nocase ascii wide
    condition:
        uint32(0) == 0x0000004C and uint32(4) == 0x00021401 and $loader and ($other or ($entry and not $system))
}

rule lnk_opens_program_of_another_host
{
    meta:
        description = "Shortcut to a program or script of another host"
        score = 300
        attack = "T1204.002, T1105"
    strings:
        $place = /(\\\\[\w.@-]{3,80}(\\DavWWWRoot)?\\|https?:\/\/[\w.-]{3,80}\/)[^\x00\r\n"]{0,200}\.(exe|scr|com|pif|bat|cmd|js|jse|vbs|vbe|wsf|hta|ps1|msi|lnk|dll|cpl|jar)\b/ nocase ascii wide
    condition:
        uint32(0) == 0x0000004C and uint32(4) == 0x00021401 and $place
}

rule lnk_padded_arguments
{
    meta:
        description = "Shortcut whose arguments begin behind what the properties window shows"
        score = 300
        attack = "T1204.002, T1036"
    strings:
        $padding = /[ \t\r\n\x0b\x0c]{240}[!-~]/ ascii wide
    condition:
        uint32(0) == 0x0000004C and uint32(4) == 0x00021401 and $padding
}
