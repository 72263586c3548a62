# SPDX-License-Identifier: GPL-2.0-or-later
# ring3.bash - completion for bash. tests/cli keeps the words in step with --help.

_ring3()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local verbs="run image share list keys screen-text screenshot monitor stop doctor help version"
    local run_options="--kernel --firmware --firmware-vars --boot --option-rom --initrd --append --module --disk --cdrom --net --share --device --display --vga --load --start --memory --engine --machine --cpu
        --host-features --cpus --cpu-weight --cpu-max --name --gdb --irqchip --no-reboot --on-triple-fault --serial --debugcon --debug-exit-port
        --hypercalls --hypercall --test-device --trace --dump-blocks --log --help"

    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$verbs --help --version" -- "$cur")
        return
    fi
    # "--opt=val" comes as three words.
    [[ $cur == "=" ]] && cur=
    [[ $prev == "=" ]] && prev=${COMP_WORDS[COMP_CWORD-2]}

    case ${COMP_WORDS[1]}:$prev in
    run:--kernel|run:--firmware|run:--firmware-vars|run:--option-rom|run:--initrd|run:--module|run:--load|run:--disk|run:--cdrom|run:--log|run:--dump-blocks|run:--serial|run:--debugcon)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        compopt -o filenames ;;
    run:--engine)
        mapfile -t COMPREPLY < <(compgen -W "auto list $(ring3 run --engine list 2>/dev/null |
            cut -d' ' -f1)" -- "$cur") ;;
    run:--machine)
        mapfile -t COMPREPLY < <(compgen -W "list $(ring3 run --machine list 2>/dev/null |
            cut -d' ' -f1)" -- "$cur") ;;
    run:--device)
        mapfile -t COMPREPLY < <(compgen -W "list $(ring3 run --device list 2>/dev/null |
            grep -o '^[a-z0-9]*')" -- "$cur") ;;
    run:--net)
        mapfile -t COMPREPLY < <(compgen -W "list $(ring3 run --net list 2>/dev/null |
            grep -o '^[a-z0-9]* ' | grep -v '^with')" -- "$cur") ;;
    run:--start)
        mapfile -t COMPREPLY < <(compgen -W "real protected paging32 long" -- "$cur") ;;
    run:--display)
        mapfile -t COMPREPLY < <(compgen -W "none sdl vnc=:1" -- "$cur") ;;
    run:--vga)
        mapfile -t COMPREPLY < <(compgen -W "std none" -- "$cur") ;;
    run:--on-triple-fault)
        mapfile -t COMPREPLY < <(compgen -W "end pause" -- "$cur") ;;
    run:--irqchip)
        mapfile -t COMPREPLY < <(compgen -W "user kernel" -- "$cur") ;;
    run:--trace)
        mapfile -t COMPREPLY < <(compgen -W "all exits device irq msr cpuid exception memory
            translate boot engine" -- "$cur") ;;
    run:--append|run:--name|run:--gdb|run:--memory|run:--cpu|run:--cpus|run:--cpu-weight|run:--cpu-max|run:--debug-exit-port) ;;
    run:*)
        mapfile -t COMPREPLY < <(compgen -W "$run_options" -- "$cur"; compgen -f -X '!*.ini' -- "$cur") ;;
    image:image)
        mapfile -t COMPREPLY < <(compgen -W "create info check convert resize snapshot map compare
            commit rebase --help" -- "$cur") ;;
    image:--format|image:--output-format|image:--backing-format|image:--second-format)
        mapfile -t COMPREPLY < <(compgen -W "raw qcow2" -- "$cur") ;;
    image:--repair)
        mapfile -t COMPREPLY < <(compgen -W "leaks all" -- "$cur") ;;
    image:--options) ;;
    image:*)
        if [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$(ring3 image "${COMP_WORDS[2]}" --help \
                2>/dev/null | grep -o '^  --[a-z-]*')" -- "$cur")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            compopt -o filenames
        fi ;;
    keys:keys|screen-text:screen-text|screenshot:screenshot|monitor:monitor|stop:stop)
        mapfile -t COMPREPLY < <(compgen -W "$(ring3 list 2>/dev/null | cut -d' ' -f1)" -- "$cur") ;;
    screenshot:*)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        compopt -o filenames ;;
    share:--engine)
        mapfile -t COMPREPLY < <(compgen -W "auto $(ring3 run --engine list 2>/dev/null |
            cut -d' ' -f1)" -- "$cur") ;;
    share:--switch-on)
        mapfile -t COMPREPLY < <(compgen -W "timer exit" -- "$cur") ;;
    share:*)
        if [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--quantum --core --switch-on --cap --seconds
                --engine --machine --memory --at --start --quiet --help" -- "$cur")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            compopt -o filenames
        fi ;;
    doctor:*)
        mapfile -t COMPREPLY < <(compgen -W "--json --help" -- "$cur") ;;
    help:*)
        mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$cur") ;;
    esac
}
complete -F _ring3 ring3
