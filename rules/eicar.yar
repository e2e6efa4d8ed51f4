/* The test file that every scanner knows. */

rule eicar_test_file
{
    meta:
        description = "The EICAR anti-malware test file"
        score = 1000
        reference = "eicar.org, anti-malware test file"
    strings:
        $a = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-" ascii
        $b = "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*" ascii
    condition:
        $a at 0 and $b at 34 and filesize <= 128
}
