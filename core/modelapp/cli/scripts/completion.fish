# fish: modelapp completion fish | source

# The verb, the words after it, and the folder of -C, up to the cursor.
function __modelapp_read
    set -g __modelapp_verb
    set -g __modelapp_given
    set -g __modelapp_folder .
    set -l words (commandline -opc)
    set -g __modelapp_program $words[1]
    set -l option
    for word in $words[2..]
        if test -n "$option"
            test "$option" = -C; and set __modelapp_folder (string replace -r '^~/' "$HOME/" -- $word)
            set option
        else if contains -- $word @VALUED@
            set option $word
        else if string match -q -- '-*' $word
            continue
        else if test -z "$__modelapp_verb"
            set __modelapp_verb $word
        else
            set -a __modelapp_given $word
        end
    end
end

function __modelapp_at
    __modelapp_read
    test "$__modelapp_verb" = "$argv[1]"
end

function __modelapp_first
    __modelapp_at $argv[1]; and test (count $__modelapp_given) -eq 0
end

function __modelapp_offer
    __modelapp_read
    if test $argv[1] = inputs; and string match -q '*=@*' -- (commandline -ct)
        set -l parts (string split -m 1 @ -- (commandline -ct))
        for path in (__fish_complete_path $parts[2])
            echo $parts[1]@$path
        end
        return
    end
    $__modelapp_program -C $__modelapp_folder complete $argv[1] -- $__modelapp_given 2>/dev/null
end

complete -c modelapp -f
