/* Packed and suspicious executables.

   Section names are compared where the section table has them (PE format, 4: behind the optional header,
   40 bytes each), for the module `pe` parses the whole file and turns all it finds into JSON: 2 ms a program. */

private rule pe_file
{
    condition:
        uint16(0) == 0x5A4D and uint32(0x3C) < filesize and uint32(uint32(0x3C)) == 0x4550
        and uint16(uint32(0x3C) + 6) <= 96
}

rule pe_packed_upx
{
    meta:
        description = "PE packed with UPX"
        score = 100
        attack = "T1027.002"
    strings:
        $mark = "UPX!"
        $name1 = "UPX0\x00"
        $name2 = "UPX1\x00"
    condition:
        pe_file and $mark in (0 .. 4096) and for any i in (0 .. uint16(uint32(0x3C) + 6) - 1) : (
            for any of ($name*) : ($ at uint32(0x3C) + 24 + uint16(uint32(0x3C) + 20) + 40 * i)
        )
}

rule pe_packer_section_name
{
    meta:
        description = "PE with the section name of a packer that hides code"
        score = 300
        attack = "T1027.002"
    strings:
        $name1 = ".vmp0\x00"
        $name2 = ".vmp1\x00"
        $name3 = ".themida"
        $name4 = ".enigma1"
    condition:
        pe_file and for any i in (0 .. uint16(uint32(0x3C) + 6) - 1) : (
            for any of ($name*) : ($ at uint32(0x3C) + 24 + uint16(uint32(0x3C) + 20) + 40 * i)
        )
}

// many harmless programs are packed with these: with what `peinfo` finds in one, it stays below 300
rule pe_compressor_section_name
{
    meta:
        description = "PE with the section name of a packer that makes programs smaller"
        score = 100
        attack = "T1027.002"
    strings:
        $name1 = ".aspack\x00"
        $name2 = ".petite\x00"
        $name3 = "PEC2TO\x00"
        $name4 = ".mpress1" nocase
    condition:
        pe_file and for any i in (0 .. uint16(uint32(0x3C) + 6) - 1) : (
            for any of ($name*) : ($ at uint32(0x3C) + 24 + uint16(uint32(0x3C) + 20) + 40 * i)
        )
}

rule pe_injects_into_processes
{
    meta:
        description = "PE with the calls for writing code into another process"
        score = 300
        attack = "T1055"
    strings:
        $open = "OpenProcess" fullword
        $alloc = "VirtualAllocEx" fullword
        $write = "WriteProcessMemory" fullword
        $run1 = "CreateRemoteThread" fullword
        $run2 = "NtCreateThreadEx" fullword
        $run3 = "QueueUserAPC" fullword
        $hollow = "NtUnmapViewOfSection" fullword
    condition:
        uint16(0) == 0x5A4D and filesize < 5MB and $alloc and $write
        and (($open and any of ($run*)) or $hollow)
}

rule pe_ransom_note
{
    meta:
        description = "PE that removes shadow copies and speaks of encrypted files"
        score = 1000
        attack = "T1486, T1490"
    strings:
        $shadow1 = "vssadmin delete shadows" nocase ascii wide
        $shadow2 = "wmic shadowcopy delete" nocase ascii wide
        $shadow3 = "bcdedit /set {default} recoveryenabled no" nocase ascii wide
        $note1 = "your files have been encrypted" nocase ascii wide
        $note2 = "files are encrypted" nocase ascii wide
        $note3 = "bitcoin" nocase ascii wide
        $note4 = ".onion" nocase ascii wide
    condition:
        uint16(0) == 0x5A4D and any of ($shadow*) and 2 of ($note*)
}

rule elf_coin_miner
{
    meta:
        description = "ELF with the words of a coin miner"
        score = 600
        attack = "T1496"
    strings:
        $stratum = "stratum+tcp://"
        $a = "xmrig" nocase
        $b = "cryptonight" nocase
        $c = "randomx" nocase
        $d = "donate-level"
    condition:
        uint32(0) == 0x464C457F and $stratum and 2 of ($a, $b, $c, $d)
}
