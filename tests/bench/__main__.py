"""`make bench`: every row on u1 to u5, some on five random splits as well, in turn; then a record, a table and a chart.

Each (row, split) is a process of its own with one thread: the course's rows in .venv, other people's in _bench/.venv. Results are lines of _bench/runs.jsonl, predictions stand beside it.
The record goes to collab_nb/record.json when every row is there, or is a peer that does not install here; until then to _bench/record.json. Table and chart go to _bench/.

`--quick` tries everything in a few minutes and holds out rows of u1's training part in place of its test rows: nothing is learned about them.
What finished is not run again: that would score test rows twice. `--again "ROW"` does so nevertheless."""
import argparse
import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from protocol import digest,inner_split,whole
from report import FOLDS,RANDOM,append,asked,draw,gains,read_runs,summarize,table
from rows import PAIRS,PUBLISHED,ROWS

HERE  = Path(__file__).parent
ROOT  = HERE.parents[1]
PEERS = ROOT/'_bench'/'.venv'/('Scripts' if os.name == 'nt' else 'bin')/('python.exe' if os.name == 'nt' else 'python')
ONE   = {f'{k}_NUM_THREADS': '1' for k in ('OMP', 'MKL', 'OPENBLAS', 'NUMBA', 'RAYON', 'LK')} | {'LK_NUM_BACKEND_THREADS': '1', 'VECLIB_MAXIMUM_THREADS': '1'}

def prepare(folder):
    "Write the ratings with every column that a row may see, and the splits, where both environments can read them"
    from collab_nb.data import fold_split,get_ml100k,random_split,read_movies,read_ratings,read_users
    (folder/'predictions').mkdir(parents=True, exist_ok=True)
    path = get_ml100k()
    ratings = read_ratings(path)
    splits = {f: fold_split(ratings, k) for k,f in enumerate(FOLDS, 1)} | {f: random_split(ratings, valid_pct=.2, seed=k) for k,f in enumerate(RANDOM)}
    splits['quick'] = inner_split(splits['u1'], seed=8)
    for name,(train,test) in splits.items(): whole(folder/f'{name}.npz', lambda f: np.savez(f, train=train, test=test))
    ratings = ratings.drop(columns='title').merge(read_users(path), on='user', how='left').merge(read_movies(path)[['movie', 'year', 'genres']], on='movie', how='left')
    whole(folder/'ratings.csv', lambda f: ratings.to_csv(f, index=False))
    return ratings

def about():
    "Date of the summary (each run has its own in runs.jsonl), machine, versions, and how it was measured"
    def versions(python):
        code = 'import importlib.metadata as m, json; print(json.dumps({d.metadata["Name"]: d.version for d in m.distributions()}))'
        have = json.loads(subprocess.run([python, '-c', code], capture_output=True, text=True).stdout) if Path(python).exists() else {}
        return {k: have[k] for k in ('numpy', 'pandas', 'torch', 'fastai', 'scikit-surprise', 'myfm', 'cornac', 'lenskit') if k in have}
    info = Path('/proc/cpuinfo')
    model = next((line.split(':')[1].strip() for line in info.read_text().splitlines() if line.startswith('model name')), '') if info.exists() else ''
    return {'date': datetime.date.today().isoformat(), 'command': 'make bench', 'machine': {'cpu': model or platform.processor() or platform.machine(), 'cores': os.cpu_count(), 'system': platform.system()},
            'python': platform.python_version(), 'versions': {'course': versions(sys.executable), 'peers': versions(PEERS)},
            'protocol': "settings chosen on 8,000 rows cut from each split's own training part, by the stated number of trials; frozen; one run on the test rows, in rows with several seeds one for each seed; "
                        'a process of its own, one thread; up to two processes at a time shared the two cores, so CPU seconds are good to about a fifth',
            'memory': 'peak of the whole process in MB, with imports and the trials that ran in it; importing fastai alone is about 410'}

@contextlib.contextmanager
def alone(folder):
    "Two drivers in one folder would score the same rows"
    lock = folder/'lock'
    folder.mkdir(parents=True, exist_ok=True)
    try: os.close(os.open(lock, os.O_CREAT|os.O_EXCL))
    except FileExistsError: sys.exit(f'{lock} is there: another make bench is at work in this folder. If none runs, delete that file')
    try: yield
    finally: lock.unlink(missing_ok=True)

def unchanged(runs, todo):
    "A result stands for the row that it was made with: where a row has changed since, nobody but the user decides to score test rows again"
    for row,split in todo:
        stored = runs.get((row['name'], split), {})
        if 'rmse' in stored and stored.get('digest') != digest(row):
            sys.exit(f"{row['name']!r} has changed since {split} was run. --again \"{row['name']}\" runs it anew, and so scores the test rows again")

def run_one(row, split, n_trials, folder):
    "A (row, split) in a process of its own: the result that it printed"
    python = PEERS if row['predict'].startswith('peers') else Path(sys.executable)
    res = {'row': row['name'], 'split': split, 'digest': digest(row), 'date': datetime.date.today().isoformat()}
    if hasattr(os, 'getloadavg'): res['load'] = round(os.getloadavg()[0], 2)     # what else ran when it began
    if not python.exists(): return {**res, 'missing': f'no environment {python.relative_to(ROOT)}'}
    env = {**os.environ, **ONE, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore', 'CUDA_VISIBLE_DEVICES': ''}
    out = subprocess.run([python, HERE/'protocol.py', split, row['name'], str(n_trials), folder], capture_output=True, text=True, env=env)
    if out.returncode: return {**res, 'failed': (out.stderr.strip().splitlines() or [f'exit code {out.returncode}'])[-1]}
    return {**res, **json.loads(out.stdout.splitlines()[-1])}

def main():
    parser = argparse.ArgumentParser(prog='make bench', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='two trials each, rows of u1 alone, none of them test rows; record.json stays as it is')
    parser.add_argument('--again', default='', metavar='ROW', help='run this row anew, and so score the test rows again')
    parser.add_argument('--rows', default='', help='only rows whose name contains this')
    parser.add_argument('--splits', default='', help='only these splits, e.g. u1,u2')
    parser.add_argument('--table', action='store_true', help='print the table of collab_nb/record.json and run nothing')
    args = parser.parse_args()
    record = ROOT/'collab_nb'/'record.json'
    if args.table:
        print(table(said := json.loads(record.read_text(encoding='utf-8'))), gains(said), sep='\n\n')
        return
    if args.again and args.again not in [r['name'] for r in ROWS]: parser.error(f'no row is called {args.again!r}')
    folder = ROOT/'_bench'/('quick' if args.quick else '')
    with alone(folder): sys.exit(run(args, folder, record))

def run(args, folder, record):
    "What is to be run, and what it adds up to; 1 if a row failed that is no peer"
    ratings = prepare(folder)
    runs = read_runs(folder)
    todo = [(row, 'quick') for row in ROWS] if args.quick else asked(ROWS)
    some = lambda row, split: args.rows in row['name'] and (not args.splits or split in args.splits.split(','))
    again = lambda row, split: row['name'] == args.again and some(row, split)
    if args.quick: runs = {(row['name'], s): r for row,s in todo if (r := runs.get((row['name'], s), {})).get('digest') == digest(row)}     # no test rows: what changed is run anew
    unchanged(runs, [key for key in todo if not again(*key)])
    for row,split in todo:
        if not some(row, split) or ('rmse' in runs.get((row['name'], split), {}) and not again(row, split)): continue
        start = time.time()
        res = runs[row['name'], split] = run_one(row, split, min(row['trials'], 2) if args.quick else row['trials'], folder)
        append(folder, res)
        said = f"{res['rmse']:.4f}" if 'rmse' in res else f"missing: {res['missing']}" if 'missing' in res else f"failed: {res['failed']}"
        print(f"{split:8} {row['name']:52} {said}   {time.time()-start:.0f} s", flush=True)
    failed = any('failed' in runs.get((row['name'], split), {}) for row,split in todo if row['group'] != 'peer')
    if args.quick: return int(failed)
    res = summarize(folder, ratings, ROWS, PAIRS, PUBLISHED, about())
    lack = [f"{row['name']} on {split}" for row,split in todo if not {'rmse', 'missing'} & set(runs.get((row['name'], split), {}))]
    if lack: print(f'not there yet: {lack[0]}{f" and {len(lack)-1} more" if lack[1:] else ""}. The record goes to {(record := folder/"record.json")}; {ROOT/"collab_nb"/"record.json"} stays as it is')
    whole(record, lambda f: f.write_text(json.dumps(res, indent=1)+'\n', encoding='utf-8'))
    whole(folder/'table.md', lambda f: f.write_text(table(res)+'\n\n'+gains(res)+'\n', encoding='utf-8'))
    draw(res, folder/'record.png')
    print(table(res))
    return int(failed)

if __name__ == '__main__': main()
