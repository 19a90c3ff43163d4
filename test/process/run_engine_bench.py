#!/usr/bin/env python3
"""`cairn-bench engine` with a few thousand keys: every engine, every load, and the shape of what it prints.

The program itself checks what it reads against what it wrote, and fails if an engine answers wrongly.
"""
import csv
import os
import subprocess

from cluster import Runner, expect

BENCH = os.path.join(os.path.dirname(os.environ.get("CAIRND", "build/release/cairnd")), "cairn-bench")
COLUMNS = ("round,workload,engine,key_style,keys,value_bytes,ops_per_s,p50_us,p99_us,p999_us,max_us,cpu_us_per_op,"
           "bytes_written,final_bytes,p9999_us").split(",")
WRITES = ["fillseq", "fillrandom", "overwrite", "space"]
SYNCED = ["fillsync", "fillsync16"]
READS = ["readrandom", "readrandom_tenth", "readrandom_half", "readmissing", "readzipf", "readseq", "readreverse", "seekrandom",
         "readwhilewriting", "scandeleted", "scandeleted_at_once"]
ENGINES = ["cairn", "rocksdb", "leveldb"]


def bench(workspace, *arguments):
    directory = os.path.join(workspace.path, "engines")
    done = subprocess.run([BENCH, "engine", "--dir", directory, *arguments], capture_output=True, text=True, timeout=300)
    expect(done.returncode == 0, "cairn-bench engine: %d: %s" % (done.returncode, (done.stderr + done.stdout)[-500:]))
    expect(not os.path.exists(directory), "the data are still there")
    cells, ratios = done.stdout.split("\n\n")
    return list(csv.DictReader(cells.splitlines())), list(csv.DictReader(ratios.splitlines())), done.stderr


def check(cells, ratios, log, workloads, rounds):
    for workload in workloads:
        of_load = [c for c in cells if c["workload"] == workload]
        for engine in ENGINES:
            mine = [c for c in of_load if c["engine"] == engine]
            skipped = "%s of %s: skipped" % (workload, engine) in log
            expect(len(mine) == (0 if skipped else rounds), "%s of %s: %d cells" % (workload, engine, len(mine)))
        expect(any(r["workload"] == workload and r["figure"] == "ops_per_s" for r in ratios), "no ratio for " + workload)
    for cell in cells:
        expect(list(cell) == COLUMNS, "columns: %s" % list(cell))
        latencies = [float(cell[c]) for c in ("p50_us", "p99_us", "p999_us", "p9999_us", "max_us")]
        expect(latencies == sorted(latencies), "latencies out of order: %s" % cell)
        expect(float(cell["ops_per_s"]) > 0 and int(cell["final_bytes"]) > 0, "nothing measured: %s" % cell)


def all_loads(workspace):
    workloads = WRITES + READS
    check(*bench(workspace, "--keys", "3000", "--rounds", "1", "--workloads", ",".join(workloads)), workloads, 1)


def synced(workspace):
    check(*bench(workspace, "--keys", "200", "--rounds", "2", "--workloads", ",".join(SYNCED)), SYNCED, 2)


def small_memory(workspace):
    # Several flushes and compactions, and data that the cache does not hold.
    workloads = ["fillrandom", "overwrite", "readrandom_tenth", "scandeleted", "space"]
    check(*bench(workspace, "--keys", "20000", "--value-bytes", "400", "--key-style", "binary", "--memtable-mb", "1", "--cache-mb", "1",
                 "--rounds", "1", "--strategy", "stcs", "--workloads", ",".join(workloads)), workloads, 1)


def kept_data(workspace):
    """--keep-data leaves what was loaded, and loads again only if the data would be others."""
    directory = os.path.join(workspace.path, "kept")

    def loaded_at(keys, *arguments):
        done = subprocess.run([BENCH, "engine", "--dir", directory, "--engines", "cairn", "--workloads", "readrandom", "--rounds", "1", "--keys",
                               str(keys), *arguments], capture_output=True, text=True, timeout=60)
        expect(done.returncode == 0, "cairn-bench engine: %d: %s" % (done.returncode, done.stderr[-500:]))
        note = os.path.join(directory, "cairn.loaded.as")
        return os.stat(note).st_mtime_ns if os.path.exists(note) else None

    first = loaded_at(3000, "--keep-data")
    expect(first is not None, "nothing was kept")
    expect(loaded_at(3000, "--keep-data") == first, "the same data were loaded again")
    expect(loaded_at(3001, "--keep-data") > first, "other data were not loaded")
    expect(loaded_at(3000) is None and not os.path.exists(directory), "the data are still there")


def strategy_switch(workspace):
    """Every strategy follows every other one under load, and no row is lost."""
    directory = os.path.join(workspace.path, "switch")
    done = subprocess.run([BENCH, "switch", "--data-mb=4", "--memtable-mb=1", "--puts-per-s=100000", "--dir=" + directory], capture_output=True,
                          text=True, timeout=120)
    expect(done.returncode == 0, "cairn-bench switch: %d: %s" % (done.returncode, (done.stderr + done.stdout)[-500:]))
    *table, last = done.stdout.splitlines()
    lines = list(csv.DictReader(table))
    pairs = {(line["from"], line["to"]) for line in lines[:-1]}
    expect(len(pairs) == 12 and all(a != b for a, b in pairs), "not every pair: %s" % pairs)
    expect(all(int(line["puts"]) > 1000 and float(line["max_us"]) > 0 for line in lines), "nothing measured: %s" % lines)
    expect(last.startswith("lost=0 longest_put_ms="), "last line: " + last)
    expect(not os.path.exists(directory), "the data are still there")


def wrong_arguments(workspace):
    for arguments in (["--keys", "none"], ["--workloads", "fillseq,dance"], ["--engines", "abacus"], ["--strategy", "luck"], ["--rounds"]):
        done = subprocess.run([BENCH, "engine", *arguments], capture_output=True, text=True, timeout=30)
        expect(done.returncode == 2 and "usage" in done.stderr, "%s: %d %s" % (arguments, done.returncode, done.stderr[-200:]))


def main():
    runner = Runner(__doc__)
    runner.check("engine_bench_loads", all_loads)
    runner.check("engine_bench_synced", synced)
    runner.check("engine_bench_small_memory", small_memory)
    runner.check("engine_bench_kept_data", kept_data)
    runner.check("engine_bench_switch", strategy_switch)
    runner.check("engine_bench_arguments", wrong_arguments)
    runner.finish()


if __name__ == "__main__":
    main()
