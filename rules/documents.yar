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
        description = "Field of an RTF or Word document, or cell of a table as text, that starts a program by DDE"
        score = 600
        attack = "T1559.002"
    strings:
        $rtf = "{\\rtf"
        $dde = /DDE(AUTO)?[^<]{0,80}(cmd(\.exe)?|powershell|mshta|c:\\+windows)/ nocase
        // a field of a binary Word document stands between 13 and 14 (MS-DOC, 2.8.25)
        $field = /\x13[ "]{0,8}DDE(AUTO)?["\s][^\x14\x15]{0,300}(cmd|powershell|pwsh|mshta|rundll32|regsvr32|wscript|cscript|certutil|\.exe)/ nocase ascii wide
        $cell = /(^|[\n,;"])[=+@-][a-z]{0,10}\|'?\s{0,4}\/c/ nocase
    condition:
        filesize < 10MB and (($dde and $rtf at 0) or $field or $cell)
}
