/* Pages and texts that bring a person to run something, or to give something away. */

rule clickfix_page
{
    meta:
        description = "Page that puts a command onto the clipboard and asks to run it"
        score = 600
        attack = "T1204.004, T1566.002"
    strings:
        $copy1 = /clipboard\s{0,4}\.\s{0,4}writeText\s{0,4}\(/ nocase
        $copy2 = /execCommand\s{0,4}\(\s{0,4}["']copy/ nocase
        $copy3 = "clipboardData.setData" nocase
        $command = /\b(powershell|pwsh|mshta|msiexec|curl|bitsadmin|certutil|rundll32|regsvr32|osascript|conhost|wscript)(\.exe)?["']?\s{1,4}["'\/\\\-$%({]{0,3}[\w:.\/\\-]{2}|\bcmd(\.exe)?\s{1,4}\/[ck]|\bfinger\.exe|base64\s{1,4}-d/ nocase
        $keys1 = /(Win(dows)?(\s|&nbsp;|<[^>]{1,40}>|\s?key){0,6}\+(\s|&nbsp;|<[^>]{1,40}>){0,6}(R|X|I)\b|Windows\s{1,4}(key|logo|button)|⊞)/ nocase
        $keys2 = /(CTRL|Strg|⌘|Cmd)(\s|&nbsp;|<[^>]{1,40}>){0,6}\+(\s|&nbsp;|<[^>]{1,40}>){0,6}V\b/ nocase
        $keys3 = /(verif(y|ication)|captcha|not a robot|human|address bar|Terminal|Run (dialog|box|window))/ nocase
        $page = /<(html|body|script|div|svg)\b/ nocase
    condition:
        filesize < 4MB and $page and any of ($copy*) and $command and 2 of ($keys*)
}

rule text_asks_to_run_command
{
    meta:
        description = "Text that has a person press Win+R and paste a command that fetches something"
        score = 300
        attack = "T1204.004"
    strings:
        $press = /(press|hold|hit|open)[^\r\n]{0,60}(Win(dows)?\s{0,2}(key|logo|button)?\s{0,3}\+\s{0,3}R\b|Run (dialog|box|window))/ nocase
        $paste = /(paste|CTRL\s{0,3}\+\s{0,3}V)/ nocase
        $command = /(powershell|mshta|msiexec|cmd(\.exe)?\s{1,4}\/c|curl(\.exe)?)\s[^\r\n]{0,200}https?:\/\// nocase
    condition:
        filesize < 256KB and all of them
}

rule page_opens_diagnostic_tool
{
    meta:
        description = "Opens the diagnostic tool of Windows with a command (CVE-2022-30190)"
        score = 1000
        attack = "T1203, T1218"
    strings:
        $msdt = /ms-msdt:[^\r\n]{0,20}\/?\s{0,4}\/?id[^\r\n]{0,200}(IT_BrowseForFile|IT_RebrowseForFile|IT_LaunchMethod|PCWDiagnostic)/ nocase ascii wide
    condition:
        filesize < 8MB and $msdt
}

rule page_opens_search_of_another_host
{
    meta:
        description = "Opens a search window on the files of another host"
        score = 600
        attack = "T1204.002, T1187"
    strings:
        $search = /search(-ms)?:[^"'<>\r\n]{0,300}crumb=location:[^"'<>\r\n]{0,10}(\\\\|%5C%5C|\/\/|https?)/ nocase ascii wide
    condition:
        filesize < 8MB and $search
}

rule html_smuggles_array
{
    meta:
        description = "Page that builds a file out of a list of numbers and saves it"
        score = 600
        attack = "T1027.006"
    strings:
        $tag = /<(html|script|body|svg)/ nocase
        // two numbers are enough to know a list by; to count all of them costs their square
        $array1 = /Uint8Array(\s{0,4}\.\s{0,4}(from|of))?\s{0,4}\(\s{0,4}\[?\s{0,4}(0x)?[0-9a-f]{1,3}\s{0,4},\s{0,4}(0x)?[0-9a-f]{1,3}\s{0,4},/ nocase
        $array2 = /=\s{0,4}\[\s{0,4}(0x)?[0-9a-f]{1,3}\s{0,4},\s{0,4}(0x)?[0-9a-f]{1,3}\s{0,4},\s{0,4}(0x)?[0-9a-f]{1,3}\s{0,4},/ nocase
        $hex = /parseInt\s{0,4}\([^;\r\n]{1,60},\s{0,4}(16|0x10)\s{0,4}\)/
        $key = /\^\s{0,4}(0x[0-9a-f]{1,2}|[0-9]{1,3}|\w{1,20})/ nocase
        $bytes = /Uint8Array|fromCharCode/
        $blob = /new\s{1,4}(Blob|File)\s{0,4}\(/
        $save1 = "msSaveOrOpenBlob"
        $save2 = "createObjectURL"
        $save3 = "msSaveBlob"
        $name = /(\.download\s{0,4}=|setAttribute\s{0,4}\(\s{0,4}["']download|new\s{1,4}File\s{0,4}\(|msSave(OrOpen)?Blob\s{0,4}\(|navigator\.|location)/
    condition:
        filesize < 30MB and $tag in (0 .. 4096) and ($array1 or ($array2 and $bytes) or ($hex and $key)) and $blob and any of ($save*) and $name
}

rule html_smuggles_data_address
{
    meta:
        description = "Page that offers a file which it holds itself as a data address"
        score = 300
        attack = "T1027.006"
    strings:
        $tag = /<(html|script|body|svg)/ nocase
        $link = /<a\s[^>]{0,300}href\s{0,4}=\s{0,4}["']?data:(application|binary|octet)[^,"']{0,80};base64,[A-Za-z0-9+\/%=\s]{300}/ nocase
        $fetch = /(fetch|open|assign|replace|href\s{0,4}=|src\s{0,4}=)\s{0,4}\(?\s{0,4}["'`]data:(application|binary|octet)[^,"'`]{0,80};base64,[A-Za-z0-9+\/%=\s]{300}/ nocase
        $built = /["'`]data:(application|binary|octet)[^,"'`]{0,80};base64,\s{0,4}(["'`]\s{0,4}\+|\$\{)/ nocase
        $save = /(\bdownload\b|\.click\s{0,4}\(|createObjectURL|location)/
        $click = /\.click\s{0,4}\(|dispatchEvent|MouseEvent/
        $font = /data:application\/(x-)?font/ nocase
    condition:
        filesize < 30MB and $tag in (0 .. 4096) and not $font and (($save and any of ($link, $fetch)) or ($built and $click))
}

rule html_sends_password_to_chat_bot
{
    meta:
        description = "Page that asks for a password and sends what is typed to a chat's bot or a form collector"
        score = 600
        attack = "T1566.002, T1056.003"
    strings:
        $password = /(type\s{0,3}=\s{0,3}["']?password|\bpassw(or)?d\b|\bpasswort\b|mot de passe|contrase)/ nocase
        $bot1 = /api\.telegram\.org\/bot/ nocase
        $bot2 = /discord(app)?\.com\/api\/webhooks\// nocase
        $bot3 = /(formspree\.io\/f\/|submit-form\.com\/|formsubmit\.co\/|getform\.io\/f\/|smtpjs\.com)/ nocase
        $input = /<input\b/ nocase
    condition:
        filesize < 5MB and $password and $input and any of ($bot*)
}

rule html_brand_login_to_other_host
{
    meta:
        description = "Login page in a known brand's name whose form goes to a host of its own"
        score = 300
        attack = "T1566.002, T1056.003"
    strings:
        $password = /<input[^>]{1,300}type\s{0,3}=\s{0,3}["']?password/ nocase
        $action = /<form[^>]{1,300}action\s{0,3}=\s{0,3}["']?https?:\/\// nocase
        $own = /<form[^>]{1,300}action\s{0,3}=\s{0,3}["']?https?:\/\/([\w-]{1,60}\.){0,4}(microsoft|microsoftonline|live|office|google|apple|paypal|adobe|dropbox|docusign|netflix|dhl|amazon|facebook|linkedin)\.com\b/ nocase
        $title = /<title>[^<]{0,60}(Sign in to your (Microsoft )?account|Microsoft|Office ?365|Outlook|OneDrive|SharePoint|PayPal|DocuSign|Dropbox|Adobe|DHL|Netflix|Apple ID|Google|Amazon|Facebook|LinkedIn|Webmail|Bank)/ nocase
        $page = /<(html|!doctype|head|body|title|form|div|meta|style|script)\b/ nocase
        $mark = /(aadcdn\.ms(auth|ftauth)\.net|logincdn\.ms(auth|ftauth)\.net|paypalobjects\.com|ssl\.gstatic\.com\/accounts|cdn\.docusign\.net)/ nocase
    condition:
        filesize < 5MB and $page in (0 .. 4096) and $password and $action and not $own and ($title or $mark)
}

rule svg_runs_script
{
    meta:
        description = "Picture (SVG) with script that leads elsewhere or unpacks something"
        score = 300
        attack = "T1027.006, T1566.002"
    strings:
        $svg = /<([\w-]{1,20}:)?svg\b/ nocase
        $script = /<([\w-]{1,20}:)?script\b|\bonload\s{0,4}=|\bonerror\s{0,4}=|javascript:/ nocase
        $lead = /(location\s{0,4}(\.(href|replace|assign)|=|\[)|window\.open\s{0,4}\(|\batob\s{0,4}\(|\beval\s{0,4}\(|document\.write|fromCharCode|fetch\s{0,4}\(|createElement)/
    condition:
        filesize < 8MB and $svg in (0 .. 2048) and $script and $lead
}

rule hta_runs_program
{
    meta:
        description = "HTML application that starts a program"
        score = 600
        attack = "T1218.005, T1059.005"
    strings:
        $hta = /<hta:application/ nocase ascii wide
        $shell = /(W?Script\.Shell|Shell\.Application|winmgmts:|72C24DD5-D70A-438B-8A42-98424B88AFB8)/ nocase ascii wide
        $run = /\.\s{0,4}(Run|Exec|ShellExecute|Create)\b/ nocase ascii wide
    condition:
        filesize < 8MB and $hta and $shell and $run
}

rule scriptlet_runs_script
{
    meta:
        description = "COM scriptlet whose script makes objects, as regsvr32 runs it"
        score = 600
        attack = "T1218.010, T1059.007"
    strings:
        $head = /<(scriptlet|component|package)\b/ nocase ascii wide
        $registration = /<registration\b/ nocase ascii wide
        $object = /(ActiveXObject|CreateObject|GetObject|eval)\s{0,4}\(/ nocase ascii wide
    condition:
        filesize < 8MB and $head and $registration and $object
}
