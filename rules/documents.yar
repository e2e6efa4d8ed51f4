/* Documents that act on their own. */

rule ole_macro_runs_on_open
{
    meta:
        description = "Office file whose raw bytes hold words of a macro that starts by itself and runs a program"
        score = 300
        attack = "T1204.002, T1059.005"
    strings:
        $vba = "_VBA_PROJECT" wide
        $auto1 = "AutoOpen" nocase
        $auto2 = "Auto_Open" nocase
        $auto3 = "Document_Open" nocase
        $auto4 = "Workbook_Open" nocase
        $run1 = "WScript.Shell" nocase
        $run2 = "Shell(" nocase
        $run3 = "ShellExecute" nocase
        $run4 = "powershell" nocase
        $run5 = "URLDownloadToFile" nocase
    condition:
        uint32(0) == 0xE011CFD0 and $vba and any of ($auto*) and any of ($run*)
}

rule office_dde_formula
{
    meta:
        description = "Field of an RTF document, or cell of a table as text, that starts a program by DDE"
        score = 600
        attack = "T1559.002"
    strings:
        $rtf = "{\\rtf"
        $dde = /DDE(AUTO)?[^<]{0,80}(cmd(\.exe)?|powershell|mshta|c:\\+windows)/ nocase
        $cell = /(^|[\n,;"])[=+@-][a-z]{0,10}\|'?\s{0,4}\/c/ nocase
    condition:
        filesize < 10MB and (($dde and $rtf at 0) or $cell)
}

/* Many forms calculate in JavaScript, and some scripts print or scroll when a document is opened: that
   alone is worth a look, not a suspicion. */
rule pdf_javascript_on_open
{
    meta:
        description = "PDF that starts JavaScript when it is opened"
        score = 100
        attack = "T1059.007"
    strings:
        $open = /\/OpenAction[\s<\[\/0-9]/
        $js = /\/(JavaScript|JS)[\s<\[(\/]/
    condition:
        uint32(0) == 0x46445025 and $open and $js
}

rule pdf_javascript_unpacks_code
{
    meta:
        description = "PDF whose JavaScript unpacks code or starts an attached file"
        score = 500
        attack = "T1059.007, T1027"
    strings:
        $js = /\/(JavaScript|JS)[\s<\[(\/]/
        $unpack = /\beval\s{0,4}\\?\(\s{0,4}(unescape|String\.fromCharCode|util\.unpackBytes|app\.doc\.)/
        $spray = /unescape\s{0,4}\\?\(\s{0,4}["']%u[0-9a-fA-F]{4}%u[0-9a-fA-F]{4}/
        $launch = /exportDataObject\s{0,4}\\?\(\s{0,4}\{[^}]{0,100}nLaunch\s{0,4}:\s{0,4}[12]/
    condition:
        uint32(0) == 0x46445025 and $js and any of ($unpack, $spray, $launch)
}

rule pdf_starts_program
{
    meta:
        description = "PDF with an action that starts a program"
        score = 600
        attack = "T1204.002"
    strings:
        $launch = /\/Launch[\s>\/]/
        $program = /\/F\s{0,8}\([^)]{0,200}(cmd|powershell|mshta|wscript|\.exe|\.scr|\.bat|\.vbs|\.js|\.hta)\b/ nocase
    condition:
        uint32(0) == 0x46445025 and $launch and $program
}

