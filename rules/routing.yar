/* Which workers a payload needs, where its type alone does not say so. */

rule zip_behind_other_bytes
{
    meta:
        description = "A zip whose first member does not stand at the start, such as a self-extracting one"
        plugin = "decompress"
    strings:
        $end = { 50 4B 05 06 }
        $local = { 50 4B 03 04 }
    condition:
        // in compound files and slide streams the worker `ole` finds the zips that their parts hold
        uint32(0) != 0xE011CFD0 and uint32(0) != 0x03E8000F and
        not $local at 0 and $local and $end in (filesize - 66000 .. filesize)
}

rule mail_by_its_headers
{
    meta:
        description = "A mail whose first lines do not look like headers, such as one behind blank lines"
        plugin = "smtp"
    strings:
        $mime = /\n(MIME-Version|Mime-Version|mime-version):[ \t]/
        $type = /\nContent-Type:[ \t]/ nocase
        $from = /\n(From|To|Received|Return-Path|Message-ID):[ \t]/ nocase
    condition:
        filesize < 100MB and uint32(0) != 0x46445025 and $mime in (0 .. 16384) and $type in (0 .. 16384)
        and $from in (0 .. 16384)
}

rule rtf_behind_blanks
{
    meta:
        description = "An RTF document that does not begin at the first byte"
        plugin = "rtf"
    strings:
        $start = /[ \t\r\n\x00]\{\\rt/
    condition:
        uint32(0) != 0x74725C7B and $start in (0 .. 1024)
}

rule office_macros_as_text
{
    meta:
        description = "MHTML, flat OPC or Word 2003 XML that holds a compound file or ActiveMime as base64"
        plugin = "mraptor"
    strings:
        $mso = "QWN0aXZlTWltZ"
        $ole = /<(pkg:binaryData|w:binData)[^>]{0,200}>\s{0,20}0M8R4KGxGuE/
        $web = /(MIME-Version:|<\?mso-application|schemas\.microsoft\.com\/office|urn:schemas-microsoft-com:office)/ nocase
    condition:
        $ole or ($mso and $web in (0 .. 65536))
}
