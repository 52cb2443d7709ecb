# Doxygen's input filter: public headers have plain comments, and this makes those of them that Doxygen reads.
#   /* text */ in front of a declaration, or behind one       -> /** text */, /**< text */
#   /* ---- Title ---- */                                      -> a group, up to the next title
#   the comment at the head of the file                        -> the main page (refusion.h), or the file's
#   lines of a comment that are indented by three or more      -> shown as they stand, unless they are a list
# Nothing in a comment is a command or markup.

function escaped(text)
{
    gsub(/\\/, "\\\\", text)
    gsub(/@/, "\\@", text)
    gsub(/</, "\\<", text)
    gsub(/>/, "\\>", text)
    gsub(/&/, "\\\\&", text)
    gsub(/#/, "\\#", text)
    gsub(/%/, "\\%", text)
    gsub(/\$/, "\\$", text)
    gsub(/::/, "\\::", text)
    sub(/ \.+ *$/, " \\&hellip;", text) # points alone at the end would end a list
    return text
}

# A line of a comment without its opening and closing; `end`: the comment closes here.
function put_comment(text, end,    body, indent, closing)
{
    body = text
    closing = ""
    if (end) {
        closing = substr(body, index(body, "*/"))
        body = substr(body, 1, index(body, "*/") - 1)
    }
    if (match(body, /^ *\* */) && opened < NR) {
        indent = RLENGTH - index(body, "*")
        if (!shown && indent >= 3 && substr(body, RLENGTH + 1, 2) != "- " && !list) {
            printf " * @verbatim\n"
            shown = 1
        } else if (shown && indent < 3) {
            printf " * @endverbatim\n"
            shown = 0
        }
        if (!shown)
            list = indent >= 3 || substr(body, RLENGTH + 1, 2) == "- "
    }
    printf "%s", shown ? body : escaped(body)
    if (shown && end) {
        printf "\n * @endverbatim "
        shown = 0
    }
    print closing
    if (end)
        inside = 0
}

inside {
    put_comment($0, index($0, "*/") > 0)
    next
}

/^\/\* ---- .* -+ \*\/$/ {
    title = $0
    gsub(/^\/\* ---- | -+ \*\/$/, "", title)
    name = title
    gsub(/[^A-Za-z]/, "_", name)
    printf "%s/** @defgroup %s %s\n@{ */\n", groups++ ? "/** @} */\n" : "", name, escaped(title)
    next
}

# What closes the `extern "C"` ends the last group.
/^#ifdef __cplusplus/ && groups {
    print "/** @} */"
    groups = 0
}

{
    at = index($0, "/*")
    if (!at) {
        print
        next
    }
    before = substr($0, 1, at - 1)
    rest = substr($0, at + 2)
    inside = opened = NR
    list = shown = 0
    if (NR == 1)
        printf "/** %s\n *", FILENAME ~ /refusion\.h$/ ? "@mainpage refusion" : "@file"
    else
        printf "%s/**%s", before, before ~ /[^ ]/ ? "<" : ""
    put_comment(rest, index(rest, "*/") > 0)
}
