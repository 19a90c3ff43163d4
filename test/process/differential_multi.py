"""What differential.py compares of MULTI, EXEC, DISCARD, WATCH and UNWATCH: random transactions on keys of one slot, with
another connection in between."""

# Not in a transaction here, or with an answer that no two servers have alike.
LEFT_OUT = {b"FLUSHALL", b"FLUSHDB", b"DBSIZE", b"HRANDFIELD", b"HGETALL", b"TTL", b"PTTL"}
OWN = [[b"PING"], [b"ECHO", b"x"], [b"SELECT", b"0"], [b"SELECT", b"99"], [b"UNWATCH"], [b"CLIENT", b"GETNAME"], [b"CONFIG", b"GET", b"nosuch"],
       [b"CLUSTER"], [b"MULTI"], [b"WATCH", b"{tag}1"]]
WRONG = [[b"nosuch", b"x"], [b"GET"], [b"CLIENT", b"nosuch"], [b"MULTI", b"x"], [b"UNWATCH", b"x"], [b"DISCARD", b"x"], [b"EXEC", b"x"], [b"WATCH"]]


def tagged(generator, whole):
    """A command whose keys are all in one slot."""
    while True:
        argv = generator.next()
        if argv[0].upper() in LEFT_OUT or len(argv) < 2:
            continue
        name = argv[0].upper()
        if name in (b"MGET", b"DEL", b"UNLINK", b"EXISTS", b"MSET", b"MSETNX", b"RENAME", b"RENAMENX", b"COPY", b"LCS", b"BITOP", b"TOUCH"):
            if whole or all(b"{tag}" in a for a in argv[1:] if a in generator.keys):
                return argv
            continue
        return [argv[0], generator.tagged()] + argv[2:]


def transactions(rng, generator, whole):
    """Commands of one transaction, with the connection that sends each: 0 or 1."""
    commands = []
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        commands.append((0, [generator.case(b"WATCH")] + [generator.tagged() for _ in range(rng.choice([1, 1, 2, 4]))]))
    if rng.random() < 0.1:
        commands.append((0, [b"UNWATCH"]))
    for _ in range(rng.choice([0, 0, 1, 1, 3])):
        commands.append((rng.choice([0, 1, 1]), tagged(generator, whole)))
    if rng.random() < 0.97:
        commands.append((0, [generator.case(b"MULTI")]))
    for _ in range(rng.choice([0, 1, 2, 3, 8])):
        commands.append((0, rng.choice(OWN) if rng.random() < 0.15 else rng.choice(WRONG) if rng.random() < 0.03 else tagged(generator, whole)))
        if rng.random() < 0.1:
            commands.append((1, tagged(generator, whole)))
    if rng.random() < 0.05:
        commands.append((0, rng.choice(WRONG)))
    commands.append((0, [b"DISCARD"] if rng.random() < 0.1 else [b"RESET"] if rng.random() < 0.03 else [generator.case(b"EXEC")]))
    commands.append((0, [b"UNWATCH"]))  # where EXEC came without MULTI; the next transaction may be another connection's
    return commands


def compare(rng, generator, whole, ours, theirs, same, proto):
    """`ours`, `theirs`: two connections each. Yields (what, ours, theirs, equal)."""
    queued = None
    for who, argv in transactions(rng, generator, whole):
        a, b = ours[who](*argv), theirs[who](*argv)
        name = argv[0].upper()
        if who == 0 and name == b"RESET" and proto == 3:
            for client in (ours[0], theirs[0]):
                client("HELLO", 3)
        if name == b"EXEC" and isinstance(a, list) and isinstance(b, list) and queued is not None and len(a) == len(b) == len(queued):
            for command, x, y in zip(queued, a, b):
                yield "in EXEC %r" % command, x, y, command[0] in (b"CLUSTER",) or same(command, x, y, proto)
        else:
            yield "%d %r" % (who, argv), a, b, same(argv, a, b, proto)
        word = bytes(b) if isinstance(b, bytes) else None
        if word == b"QUEUED":
            queued = (queued or []) + [argv]
        elif who == 0 and name in (b"EXEC", b"DISCARD", b"RESET", b"MULTI"):
            queued = [] if name == b"MULTI" and word == b"OK" else queued if name == b"MULTI" else None
        if word != b"QUEUED" and who == 1:
            generator.note(argv, b)
    for key in generator.one_slot:
        a, b = ours[1]("EXISTS", key), theirs[1]("EXISTS", key)
        yield "EXISTS %r afterwards" % key, a, b, a == b
