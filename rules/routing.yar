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
        // the end record leads to a directory; programs that deal with zips hold the marks as constants
        not $local at 0 and $local and for any i in (1 .. #end) : (
            @end[i] > filesize - 66000 and (
                uint32(@end[i] - uint32(@end[i] + 12)) == 0x02014b50
                or uint32(uint32(@end[i] + 16)) == 0x02014b50
                or uint32(@end[i] - 20) == 0x07064b50
            )
        )
}
