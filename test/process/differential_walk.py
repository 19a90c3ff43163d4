"""What differential.py compares of SCAN, KEYS, RANDOMKEY and HSCAN: whole iterations, as sets."""


def iterate(client, before, options):
    """All that one iteration brings, and how many calls it took; the name of what is wrong instead, if something is."""
    cursor, items, calls = b"0", [], 0
    while True:
        reply = client(*(before + [cursor] + options))
        if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], list):
            return reply, calls
        cursor, calls = reply[0], calls + 1
        items += reply[1]
        if cursor == b"0":
            return items, calls
        if not cursor.isdigit() or int(cursor) >= 1 << 53 or calls > 100000:
            return "cursor %r after %d calls" % (cursor, calls), calls


def as_set(items, pairs=False):
    if not isinstance(items, list):
        return items
    return {tuple(items[i:i + 2]) for i in range(0, len(items), 2)} if pairs else set(items)


def compare(rng, generator, ours, theirs):
    """Yields (what, ours, theirs) for every comparison; equal or not."""
    options = []
    if rng.random() < 0.7:
        options += [generator.case(b"COUNT"), b"%d" % rng.choice([1, 2, 7, 10, 50, 1000, 10 ** 12])]
    if rng.random() < 0.5:
        options += [generator.case(b"MATCH"), rng.choice([b"*", b"k*", b"k1?", b"*{tag}*", b"[a-k]*", b"\\{tag}[^3]", b"k7", b"", b"\xff*"])]
    typed = options + ([generator.case(b"TYPE"), rng.choice([b"string", b"hash", b"HASH", b"zset", b"nosuch"])] if rng.random() < 0.4 else [])
    a, b = iterate(ours, [b"SCAN"], typed)[0], iterate(theirs, [b"SCAN"], typed)[0]
    yield "SCAN %r" % typed, as_set(a), as_set(b)
    yield "SCAN brings each key once", len(a), len(as_set(a))
    for key in [generator.key("hash"), generator.key()]:
        a, b = iterate(ours, [b"HSCAN", key], options)[0], iterate(theirs, [b"HSCAN", key], options)[0]
        yield "HSCAN %r %r" % (key, options), as_set(a, True), as_set(b, True)
    pattern = rng.choice([b"*", b"k*", b"*{tag}*", b"nosuch*", b"k[1-3]*", b"K*"])
    a, b = ours("KEYS", pattern), theirs("KEYS", pattern)
    yield "KEYS %r" % pattern, as_set(a), as_set(b)
    yield "KEYS brings each key once", len(a), len(as_set(a))
    key, everything = ours("RANDOMKEY"), as_set(theirs("KEYS", "*"))
    yield "RANDOMKEY is a key", True, key in everything if everything else key is None
