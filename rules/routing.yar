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
        not $local at 0 and $local and $end in (filesize - 66000 .. filesize)
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
