"""Far memory in the text of a training's graph, for tests that want moves whatever the compiler would choose."""
import re


def with_moves(text, states, is_moved):
    """The text with the states whose names end so in far memory: fetched where they are read, again where another phase reads
    them, and offloaded where they are committed. Forward values for which is_moved(name, operator) holds are offloaded where they
    are made and fetched for the backward pass, if that reads them."""
    lines, kinds, far, graph, moved = [], {}, set(), "", {}
    for line in text.splitlines():
        state = re.match(r"state @(\S+): \S+ \{", line)
        made = re.match(r"  %(\S+): (\S+) = (\S+)", line)
        commit = re.match(r"  commit @(\S+) = %(\S+)$", line)
        phase = re.search(r"( backward| update)?$", line)[0]
        kinds.update(re.findall(r"%([\w.]+): (\w+\[[\d,]*\])", line))
        if line.startswith("graph"):
            graph, moved = line.split("(")[0], {}
        if state and state[1].endswith(states):
            far.add(state[1])
            line = line.replace("{", "{far = 1, ", 1)
        # Who reads what was moved reads a copy that was fetched for its phase.
        head, equals, rest = line.partition(" = ")
        for name in re.findall(r"%([\w.]+)", rest) if equals and not commit else []:
            if moved.get(name, phase) == phase:
                continue
            copy = f"{name}.{phase.strip()}"
            if copy not in kinds:
                kinds[copy] = kinds[name]
                lines.append(f"  %{copy}: {kinds[name]} = fetch %far.{name}{phase}")
            rest = re.sub(rf"%{re.escape(name)}(?![\w.])", f"%{copy}", rest)
        line = head + equals + rest
        if commit and commit[1] in far:
            lines.append(f"  %{commit[1]}.out: {kinds[commit[2]]} = offload %{commit[2]}" + " update" * (graph != "graph @init"))
            line = f"  commit @{commit[1]} = %{commit[1]}.out"
        if made and made[3] == "state" and re.search(r'name = "([^"]+)"', line)[1] in far:
            lines.append(line.replace(f"%{made[1]}:", f"%far.{made[1]}:", 1))
            line = f"  %{made[1]}: {made[2]} = fetch %far.{made[1]}{phase}"
            moved[made[1]] = phase
        lines.append(line)
        if made and not phase and graph != "graph @init" and is_moved(made[1], made[3]):
            lines.append(f"  %far.{made[1]}: {made[2]} = offload %{made[1]}")
            moved[made[1]] = phase
    return "\n".join(lines) + "\n"
