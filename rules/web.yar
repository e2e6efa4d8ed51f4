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
        description = "Page that asks for a password and sends it to a host that has no name"
        score = 300
        attack = "T1566.002, T1056.003"
    strings:
        $password = /<input[^>]{1,200}type\s{0,3}=\s{0,3}["']?password/ nocase
        $ip = /<form[^>]{1,200}action\s{0,3}=\s{0,3}["']?https?:\/\/[0-9]{1,3}(\.[0-9]{1,3}){3}/ nocase
        // the machine itself, and private networks
        $own = /<form[^>]{1,200}action\s{0,3}=\s{0,3}["']?https?:\/\/(127|10|192\.168|172\.(1[6-9]|2\d|3[01]))\./ nocase
    condition:
        filesize < 5MB and $password and $ip and not $own
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
        // behind the end or the beginning of a statement: comments speak of such calls
        $run = /([;{}>?:=&|(]|<\?(php|=)?|\belse|\breturn|\becho|\bprint)\s{0,20}[@(]{0,3}(eval|assert|system|shell_exec|passthru|exec|popen|proc_open|create_function|preg_replace\s{0,4}\(\s{0,4}["'][^"']{1,40}e["']\s{0,4},)\s{0,4}\(?\s{0,4}@?((base64_decode|stripslashes|urldecode|str_rot13|trim|hex2bin|gzinflate)\s{0,4}\(\s{0,4}){0,3}\$_(GET|POST|REQUEST|COOKIE|SERVER|FILES)\s{0,4}[\[{]/ nocase
        $variable = /\$\w{1,30}\s{0,4}=\s{0,4}@?((base64_decode|stripslashes|urldecode|str_rot13|trim|hex2bin)\s{0,4}\(\s{0,4}){0,3}\$_(GET|POST|REQUEST|COOKIE)\s{0,4}\[[^;]{1,80};[^}]{0,300}[;{}\s@(=]((eval|assert|system|shell_exec|passthru|popen|proc_open)\s{0,4}\(\s{0,4}["']?\$|\$\w{1,30}\s{0,4}\(\s{0,4}\$_(GET|POST|REQUEST|COOKIE))/ nocase
        $called = /[;{}>(=@\s]\$_(GET|POST|REQUEST|COOKIE)\s{0,4}\[[^\]\r\n]{1,40}\]\s{0,4}\(\s{0,4}@?\$_(GET|POST|REQUEST|COOKIE)/ nocase
        $back = /([;{}>?:=(]|\becho|\bprint|\breturn)\s{0,8}`[^`\r\n]{0,80}\$_(GET|POST|REQUEST|COOKIE)\s{0,4}\[/
    condition:
        filesize < 2MB and ($php or $short) and ($run or $back or $called or ($variable and filesize < 16KB))
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
        $jsp1 = /Runtime\.getRuntime\(\)\.exec\s{0,4}\(\s{0,4}(new\s{1,4}String\[\][^;]{0,80})?request\.getParameter/
        $aspx1 = /eval\s{0,4}\(\s{0,4}Request(\.Item)?\s{0,4}[\[(]\s{0,4}["']/ nocase
        $aspx2 = /Process\.Start\s{0,4}\([^;)]{0,60}Request(\.(QueryString|Form|Item))?\s{0,4}[\[(]/ nocase
        $aspx3 = /StartInfo[^;]{0,40};?[^%]{0,200}(cmd(\.exe)?|powershell)[^%]{0,300}Request\s{0,4}(\.\s{0,4}(Form|QueryString|Item|Params|Headers|Cookies))?\s{0,4}[\[(]/ nocase
        $aspx4 = /(cmd(\.exe)?["']?\s{0,4}[,;][^%]{0,200}|\bArguments\s{0,4}=[^;]{0,80})Request\s{0,4}(\.\s{0,4}(Form|QueryString|Item|Params|Headers|Cookies))?\s{0,4}[\[(]/ nocase
        $jsp2 = /String\s{1,4}\w{1,30}\s{0,4}=\s{0,4}request\.get(Parameter|Header)\s{0,4}\([^%]{0,600}(Runtime\.getRuntime\(\)\.exec|new\s{1,4}ProcessBuilder)\s{0,4}\(/
        $tag = "<%"
    condition:
        filesize < 2MB and $tag and any of ($jsp*, $aspx*)
}
