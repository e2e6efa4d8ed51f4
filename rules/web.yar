/* Phishing pages and web shells. */

rule html_smuggles_file
{
    meta:
        description = "HTML that builds a file out of encoded text and saves it"
        score = 600
        attack = "T1027.006"
    strings:
        $decode = /\batob\s{0,4}\(/
        $blob = /new\s{1,4}Blob\s{0,4}\(/
        $url = /URL\.createObjectURL\s{0,4}\(/
        $save1 = "msSaveOrOpenBlob"
        $save2 = /\.download\s{0,4}=/
        $click = ".click("
        $long = /["'][A-Za-z0-9+\/]{400}/
        $tag = /<(html|script|body|svg)/ nocase
    condition:
        // close together and in a page: large libraries hold all of these words somewhere
        filesize < 30MB and $tag in (0 .. 4096) and $long and for any i in (1 .. #decode) : (
            $blob in (@decode[i] - 2000 .. @decode[i] + 2000) and (
                $save1 in (@decode[i] - 4000 .. @decode[i] + 4000) or (
                    $url in (@decode[i] - 4000 .. @decode[i] + 4000)
                    and $save2 in (@decode[i] - 4000 .. @decode[i] + 4000)
                    and $click in (@decode[i] - 4000 .. @decode[i] + 4000)
                )
            )
        )
}

rule html_password_form_to_elsewhere
{
    meta:
        description = "Page that asks for a password in a known brand's name and sends it to another host"
        score = 300
        attack = "T1566.002, T1056.003"
    strings:
        $password = /<input[^>]{1,200}type\s{0,3}=\s{0,3}["']?password/ nocase
        $ip = /<form[^>]{1,200}action\s{0,3}=\s{0,3}["']?https?:\/\/[0-9]{1,3}(\.[0-9]{1,3}){3}/ nocase
        $script = /<form[^>]{1,200}action\s{0,3}=\s{0,3}["']?[^"'> ]{0,100}\.php/ nocase
        $brand1 = /<title>[^<]{0,60}(Microsoft|Office ?365|Outlook|OneDrive|SharePoint)/ nocase
        $brand2 = /<title>[^<]{0,60}(PayPal|DocuSign|Dropbox|Adobe|DHL|Netflix|Apple ID)/ nocase
    condition:
        filesize < 5MB and $password and ($ip or ($script and any of ($brand*)))
}

rule php_web_shell
{
    meta:
        description = "PHP that runs what a request sends"
        score = 1000
        attack = "T1505.003"
    strings:
        $php = "<?php" nocase
        $short = "<?="
        $run = /\b(eval|assert|system|shell_exec|passthru|exec|popen|proc_open)\s{0,4}\(\s{0,4}@?(base64_decode\s{0,4}\(\s{0,4})?\$_(GET|POST|REQUEST|COOKIE)\b/ nocase
        $back = /`\s{0,4}\$_(GET|POST|REQUEST)/
    condition:
        filesize < 2MB and ($php or $short) and ($run or $back)
}

rule php_packed_code
{
    meta:
        description = "PHP that unpacks its code and runs it"
        score = 600
        attack = "T1027, T1505.003"
    strings:
        $php = "<?php" nocase
        $run = /\beval\s{0,4}\(\s{0,4}@?(gzinflate|gzuncompress|str_rot13|base64_decode)\s{0,4}\(\s{0,4}(base64_decode|str_rot13|gzinflate|["'][A-Za-z0-9+\/=]{100})/ nocase
    condition:
        filesize < 2MB and all of them
}

rule jsp_aspx_web_shell
{
    meta:
        description = "JSP or ASPX page that runs what a request sends"
        score = 1000
        attack = "T1505.003"
    strings:
        $jsp = /Runtime\.getRuntime\(\)\.exec\s{0,4}\(\s{0,4}(new\s{1,4}String\[\][^;]{0,80})?request\.getParameter/
        $aspx = /eval\s{0,4}\(\s{0,4}Request(\.Item)?\s{0,4}[\[(]\s{0,4}["']/ nocase
        $aspx2 = /Process\.Start\s{0,4}\([^;)]{0,60}Request(\.(QueryString|Form|Item))?\s{0,4}[\[(]/ nocase
        $tag = "<%"
    condition:
        filesize < 2MB and $tag and any of ($jsp, $aspx, $aspx2)
}
