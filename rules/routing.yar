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
