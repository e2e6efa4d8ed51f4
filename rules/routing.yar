/* Which workers a payload needs, where its type alone does not say so. */

rule zip_behind_other_bytes
{
    meta:
        description = "A zip whose first member does not stand at the start, such as a self-extracting one"
        plugin = "decompress, xyz"
    strings:
        $end = { 50 4B 05 06 }
        $local = { 50 4B 03 04 }
    condition:
        // the end record leads to a directory; programs that deal with zips hold the marks as constants
        // in compound files and slide streams the worker `ole` finds the zips that their parts hold
        uint32(0) != 0xE011CFD0 and uint32(0) != 0x03E8000F and
        not $local at 0 and $local and for any i in (1 .. #end) : (
            @end[i] > filesize - 66000 and (
                uint32(@end[i] - uint32(@end[i] + 12)) == 0x02014b50
                or uint32(uint32(@end[i] + 16)) == 0x02014b50
                or uint32(@end[i] - 20) == 0x07064b50
            )
        )
}

rule base64_of_a_file
{
    meta:
        description = "Base64 whose first letters stand for a program, an archive or a document"
        plugin = "decode"
    strings:
        // MZ, zip, PDF, ELF, gzip, RTF, OLE, 7z, RAR
        $file = /(^|[^A-Za-z0-9+\/]|\\[nrt])(TV[opqr]|UEsDB|JVBERi0|f0VMR|H4sI|e1xydGY|0M8R4KGx|N3q8r|UmFyIR)[A-Za-z0-9+\/_-]{50}/
        $wide = /(TV[opqr]|UEsDB|JVBERi0|f0VMR|H4sI|e1xydGY|0M8R4KGx|N3q8r|UmFyIR)[A-Za-z0-9+\/_-]{50}/ wide
    condition:
        any of them
}

rule program_hidden_by_xor
{
    meta:
        description = "The text of a DOS stub under a key of one byte"
        plugin = "xordecode"
        xor_plaintext_for_string_dos = "This program cannot be run in DOS mode"
        xor_plaintext_for_string_win = "This program must be run under Win"
    strings:
        $dos = "This program cannot be run in DOS mode" xor(1-255)
        $win = "This program must be run under Win" xor(1-255)
    condition:
        any of them
}

rule words_hidden_by_xor
{
    meta:
        description = "What downloaders and loaders call, under a key of one byte"
        plugin = "xorsearch"
    strings:
        $a = "URLDownloadToFile" xor(1-255)
        $b = "GetProcAddress" xor(1-255)
        $c = "WScript.Shell" xor(1-255)
        $d = "http://" xor(1-255)
        $e = "https://" xor(1-255)
    condition:
        any of them
}

rule xml_data_package
{
    meta:
        description = "XML that carries a PDF as base64"
        plugin = "xdpcarve"
    strings:
        $package = "ns.adobe.com/xdp/" ascii wide
        $chunk = /<([A-Za-z_][A-Za-z0-9_.-]{0,63}:)?chunk[\s>]/ nocase ascii wide
    condition:
        all of them
}

rule pdf_behind_other_bytes
{
    meta:
        description = "PDF whose mark stands behind other bytes, where readers still take it for one"
        plugin = "pdf"
    strings:
        $mark = /%PDF-[0-9]\.[0-9]/
        $object = /[0-9][\s\x00]obj[\s\x00<\[(\/%]/
        $stream = "stream"
    condition:
        $mark in (1..1023) and $object and $stream
}

rule pe_within_other_bytes
{
    meta:
        description = "The header of a Windows executable elsewhere than where the payload's own one is"
        plugin = "pecarve"
    strings:
        // i386, amd64, ARM64, ARM (four kinds), Itanium, EFI byte code, RISC-V, LoongArch
        $pe = { 50 45 00 00 (4C 01 | 64 86 | 64 AA | C0 01 | C2 01 | C4 01 | 00 02 | BC 0E | 32 50 | 64 50 | 32 62 | 64 62) }
    condition:
        for any i in (1 .. #pe) : (
            @pe[i] >= 4 and not (uint16(0) == 0x5A4D and @pe[i] == uint32(0x3C))
        )
}

rule mail_by_its_headers
{
    meta:
        description = "A mail or a part of one, wherever its headers stand and however they are written"
        plugin = "smtp"
    strings:
        // names as programs take them: any case, blanks and comments before the colon, any line end
        $mime = /(^|[\r\n])[ \t"]{0,8}(mime-version|content-transfer-encoding|message-id|return-path|received|delivered-to|dkim-signature)[ \t]{0,99}[:("]/ nocase
        $type = /(^|[\r\n\xbf])[ \t"]{0,8}content-(type|disposition)[ \t]{0,99}[:("]/ nocase
        $from = /(^|[\r\n\xbf])[ \t"]{0,8}(from|subject|date|reply-to|received)[ \t]{0,99}[:("]/ nocase
        $part = /[\r\n][ \t]{0,8}content-[ \t]{0,9}trans[a-z-]{3,20}[ \t]{0,99}[:(]/ nocase
        $wide_type = "content-type" wide nocase
        $wide_mime = /(mime-version|message-id|content-transfer-encoding):/ wide nocase
        $wide_be_type = { 00 (43|63) 00 (6F|4F) 00 (6E|4E) 00 (74|54) 00 (65|45) 00 (6E|4E) 00 (74|54) 00 2D 00 (54|74) 00 (59|79) }
    condition:
        filesize < 100MB and uint32(0) != 0x46445025 and (
            ($type in (0 .. 262144) and (#mime in (0 .. 262144) > 0 or #from in (0 .. 262144) > 1))
            or ($mime in (0 .. 16384) and #from in (0 .. 16384) > 1)
            or ($type and $part)
            or (($wide_type in (0 .. 65536) or $wide_be_type in (0 .. 65536)) and ($wide_mime in (0 .. 65536) or uint16be(0) == 0xFEFF or uint16be(0) == 0xFFFE))
        )
}

rule calendar_or_contact
{
    meta:
        description = "A calendar or contact that carries encoded values, whatever stands before it"
        plugin = "calendar"
    strings:
        $begin = /BEGIN[ \t]{0,9}:[ \t]{0,9}(VCALENDAR|VCARD|VEVENT|VTODO|VJOURNAL|VNOTE)/ nocase
        $value = /(ENCODING[ \t]{0,9}=[ \t"]{0,9}(BASE64|B|Q)|VALUE[ \t]{0,9}=[ \t"]{0,9}BINARY|;BASE64|data:)/ nocase
    condition:
        $begin and $value
}

rule outlook_message
{
    meta:
        description = "A compound file that holds the properties of an Outlook message"
        plugin = "msg"
    strings:
        $properties = "__properties_version1.0" wide nocase
        $stream = "__substg1.0_" wide nocase
    condition:
        uint32(0) == 0xE011CFD0 and any of them
}

rule cms_in_base64
{
    meta:
        description = "A signed, encrypted or compressed message (CMS) in base64, with or without a frame"
        plugin = "cms"
    strings:
        // the type of its content, 1.2.840.113549.1.7 or 1.2.840.113549.1.9.16.1
        $pkcs7 = "\x2a\x86\x48\x86\xf7\x0d\x01\x07" base64
        $smime = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01" base64
        $mail = /(^|[\r\n])content-(type|transfer-encoding)[ \t]{0,99}[:(]/ nocase
    condition:
        ($pkcs7 in (0 .. 2048) or $smime in (0 .. 2048)) and not $mail in (0 .. 2048)
}

rule binhex_in_a_text
{
    meta:
        description = "A file as BinHex 4.0 somewhere in a text"
        plugin = "binhex"
    strings:
        $mark = "(This file must be converted with BinHex"
        $start = /[\r\n][ \t>]{0,8}:[!-r]{4}/
    condition:
        all of them
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

rule packed_with_upx
{
    meta:
        description = "A program with UPX's mark, which upx may unpack"
        plugin = "decompress"
    strings:
        $mark = "UPX!"
    condition:
        (uint16(0) == 0x5A4D or uint32(0) == 0x464C457F or uint32(0) == 0xFEEDFACE or uint32(0) == 0xFEEDFACF)
        and ($mark in (0 .. 8192) or $mark in (filesize - 8192 .. filesize))
}

rule office_markup
{
    meta:
        description = "XML of an Office document that may refer to something elsewhere, or run something"
        plugin = "ooxml"
    strings:
        $a = /<([A-Za-z_][\w.-]{0,63}:)?(Relationship|instrText|fldSimple|attachedTemplate|ddeLink|dde-source|macrosheet|customUI|definedName)[\s>\/]/ ascii wide
        $b = { 00 (52|69|66|61|64|6D|63) 00 (65|6E|6C|74|64|61|75) 00 (6C|73|64|74|65|63|66|2D) 00 (61|74|53|4C|2D|72|6F|69) 00 (74|72|69|63|69|6F|6D|73|6E) }
    condition:
        $a or ($b and uint16be(0) == 0xFEFF)
}
