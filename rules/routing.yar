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
