"""`make bench`: every row on u1 to u5, some on five random splits as well; then a record, a table and a chart.

Each (row, split) is a process of its own with one thread: the course's rows in .venv, other people's in _bench/.venv.
Results are lines of _bench/runs.jsonl, predictions are next to it. The record goes to collab_nb/record.json when every
row has run, or is a peer that doesn't install here; until then to _bench/record.json. Table and chart go to _bench/.

`--quick` tries everything in a few minutes and holds out rows of u1's training part in place of its test rows: nothing
is learned about them. What has finished isn't run again, nor what collab_nb/record.json has of a row that hasn't
changed since: that would score test rows twice. `--again "ROW"` does it anyway. `--fresh` forgets that record."""
import argparse
import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor,as_completed
from functools import partial
from pathlib import Path

import numpy as np

from collab_nb.data import fold_split,get_ml100k,random_split,read_movies,read_ratings,read_users
from collab_nb.record import gain_table,published_table,read_record,record_table
from collab_nb.splits import inner_split
from protocol import cpu,digest,whole
from report import FOLDS,RANDOM,all_runs,append,asked,draw,is_done,summarize
from rows import PAIRS,PUBLISHED,ROWS

HERE  = Path(__file__).parent
ROOT  = HERE.parents[1]
PEERS = ROOT/'_bench'/'.venv'/('Scripts' if os.name == 'nt' else 'bin')/('python.exe' if os.name == 'nt' else 'python')
ONE   = {f'{k}_NUM_THREADS': '1' for k in ('OMP', 'MKL', 'OPENBLAS', 'NUMBA', 'RAYON', 'LK')} | {
    'LK_NUM_BACKEND_THREADS': '1', 'VECLIB_MAXIMUM_THREADS': '1'}
N_VALID = 8_000

def with_inner(
    splits, # Row positions (train, test)
    **kwargs, # For `inner_split`
)->dict: # {'train', 'test', 'fit', 'valid'}: row positions; `fit` and `valid` are the training rows cut in two
    "A split and, inside its training part, the rows to choose on: the same for the course and its peers"
    train,test = splits
    fit,valid = inner_split(splits, n=min(N_VALID, len(train)//10), **kwargs)
    return {'train': train, 'test': test, 'fit': fit, 'valid': valid}

def prepare(folder):
    "Write the ratings with every column that a row may see, and the splits, where both environments can read them"
    (folder/'predictions').mkdir(parents=True, exist_ok=True)
    path = get_ml100k()
    ratings = read_ratings(path)
    splits = {f: fold_split(ratings, k) for k,f in enumerate(FOLDS, 1)}
    splits |= {f: random_split(ratings, valid_pct=.2, seed=k) for k,f in enumerate(RANDOM)}
    splits['quick'] = inner_split(splits['u1'], seed=8)
    for name,of in splits.items(): whole(folder/f'{name}.npz', partial(np.savez, **with_inner(of)))
    ratings = ratings.drop(columns='title').merge(read_users(path), on='user', how='left')
    ratings = ratings.merge(read_movies(path)[['movie', 'year', 'genres']], on='movie', how='left')
    whole(folder/'ratings.csv', lambda f: ratings.to_csv(f, index=False))
    return ratings

def versions(python):
    "What matters of the packages that an environment has"
    if not Path(python).exists(): return {}
    code = ('import importlib.metadata as m, json; '
            'print(json.dumps({d.metadata["Name"]: d.version for d in m.distributions()}))')
    have = json.loads(subprocess.run([python, '-c', code], capture_output=True, text=True).stdout)
    names = 'numpy', 'pandas', 'torch', 'fastai', 'scikit-surprise', 'myfm', 'cornac', 'lenskit'
    return {k: have[k] for k in names if k in have}

def about():
    "Date of the summary (each run has its own in runs.jsonl), machine, versions, and how it was measured"
    return {'date': datetime.date.today().isoformat(), 'command': 'make bench',
            'machine': {'cpu': cpu(), 'cores': os.cpu_count(), 'system': platform.system()},
            'python': platform.python_version(),
            'versions': {'course': versions(sys.executable), 'peers': versions(PEERS)},
            'protocol': "settings chosen on 8,000 rows cut from each split's own training part, by the stated number "
                        'of trials; frozen; one run on the test rows, in rows with several seeds one for each seed; '
                        'a process of its own, one thread; up to two processes at a time shared the two cores, '
                        'so CPU seconds are good to about a fifth',
            'memory': 'peak of the whole process in MB, with imports and the trials that ran in it; '
                      'importing fastai alone is about 410'}

@contextlib.contextmanager
def alone(folder):
    "Two drivers in one folder would score the same rows"
    lock = folder/'lock'
    folder.mkdir(parents=True, exist_ok=True)
    try: os.close(os.open(lock, os.O_CREAT|os.O_EXCL))
    except FileExistsError:
        sys.exit(f'{lock} is there: another make bench is at work in this folder. If none runs, delete that file')
    try: yield
    finally: lock.unlink(missing_ok=True)

def unchanged(runs, todo):
    "Stop when a row has changed since its result was stored: only the user decides to score test rows again"
    for row,split in todo:
        stored = runs.get((row['name'], split), {})
        if {'rmse', 'ndcg'} & set(stored) and stored.get('digest') != digest(row):
            sys.exit(f"{row['name']!r} has changed since {split} was run. "
                     f"--again \"{row['name']}\" runs it anew, and so scores the test rows again")

def run_one(row, split, n_trials, folder, known=None):
    "A (row, split) in a process of its own: the result that it printed. `known`: as protocol.py has it"
    python = PEERS if row['predict'].startswith('peers') else Path(sys.executable)
    res = {'row': row['name'], 'split': split, 'digest': digest(row), 'date': datetime.date.today().isoformat()}
    if hasattr(os, 'getloadavg'): res['load'] = round(os.getloadavg()[0], 2)     # what else ran when it began
    if not python.exists(): return {**res, 'missing': f'no environment {python.relative_to(ROOT)}'}
    env = {**os.environ, **ONE, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore', 'CUDA_VISIBLE_DEVICES': ''}
    command = [python, HERE/'protocol.py', split, row['name'], str(n_trials), folder, json.dumps(known)]
    out = subprocess.run(command, capture_output=True, text=True, env=env)
    if out.returncode:
        return {**res, 'failed': (out.stderr.strip().splitlines() or [f'exit code {out.returncode}'])[-1]}
    return {**res, **json.loads(out.stdout.splitlines()[-1])}

def said(res):
    "A result in a few words"
    if 'rmse' in res: return f"{res['rmse']:.4f}"
    if 'ndcg' in res: return f"NDCG@10 {res['ndcg'][0]:.4f}"
    if 'more_trials' in res: return f"{res['more_trials']} more trials, none better"
    return f"missing: {res['missing']}" if 'missing' in res else f"failed: {res['failed']}"

def main():
    parser = argparse.ArgumentParser(prog='make bench', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true',
                        help='two trials each, rows of u1 alone, none of them test rows; record.json stays as it is')
    parser.add_argument('--again', default='', metavar='ROW',
                        help='run this row anew, and so score the test rows again')
    parser.add_argument('--rows', default='', help='only rows whose name contains this')
    parser.add_argument('--splits', default='', help='only these splits, e.g. u1,u2')
    parser.add_argument('--jobs', type=int, default=1, help='so many processes at a time')
    parser.add_argument('--fresh', action='store_true', help='run every row, whatever collab_nb/record.json has')
    parser.add_argument('--table', action='store_true', help='print the table of collab_nb/record.json and run nothing')
    args = parser.parse_args()
    file = ROOT/'collab_nb'/'record.json'
    if args.table:
        record = read_record(file)
        print(record_table(record), gain_table(record), published_table(record), sep='\n\n')
        return
    if args.again and args.again not in [r['name'] for r in ROWS]: parser.error(f'no row is called {args.again!r}')
    folder = ROOT/'_bench'/('quick' if args.quick else '')
    with alone(folder): sys.exit(run(args, folder, file))

def run(args, folder, file):
    "Run what's asked for, then add it up; 1 if a row failed that isn't a peer"
    ratings = prepare(folder)
    record = read_record(file) if file.exists() and not (args.quick or args.fresh) else None
    runs = all_runs(folder, record, ROWS)
    todo = [(row, 'quick') for row in ROWS] if args.quick else asked(ROWS)
    some = lambda row, split: args.rows in row['name'] and (not args.splits or split in args.splits.split(','))
    again = lambda row, split: row['name'] == args.again and some(row, split)
    if args.quick:     # no test rows: what changed is run anew
        digests = {row['name']: digest(row) for row,_ in todo}
        runs = {key: r for key,r in runs.items() if r.get('digest') == digests.get(key[0])}
    unchanged(runs, [key for key in todo if not again(*key)])
    def job(row, split):
        start = time.time()
        n_trials = min(row['trials'], 2) if args.quick else row['trials']
        known = runs.get((row['name'], split), {}).get('known')
        if split == 'lists' and row.get('task') != 'lists':     # with the settings that u1 came to
            known = {'settings': runs[row['name'], 'u1']['settings']}
        return row,split,run_one(row, split, n_trials, folder, known),time.time()-start
    def go(jobs):
        with ThreadPoolExecutor(args.jobs) as pool:
            for done in as_completed([pool.submit(job, *j) for j in jobs]):
                row,split,res,seconds = done.result()
                append(folder, res)
                runs[row['name'], split] = res
                print(f"{split:8} {row['name']:52} {said(res)}   {seconds:.0f} s", flush=True)
    jobs = [(row, split) for row,split in todo if some(row, split)
            and (again(row, split) or not is_done(runs.get((row['name'], split), {})))]
    go([j for j in jobs if j[1] != 'lists'])
    ready = lambda row: row.get('task') == 'lists' or 'settings' in runs.get((row['name'], 'u1'), {})
    go([j for j in jobs if j[1] == 'lists' and ready(j[0])])
    failed = any('failed' in runs.get((row['name'], split), {}) for row,split in todo if row['group'] != 'peer')
    if not args.quick: write(folder, file, todo, ratings, record)
    return int(failed)

def write(folder, file, todo, ratings, record=None):
    "Record, table and chart; the record goes to `file` only when nothing of `todo` is lacking"
    runs = all_runs(folder, record, ROWS)
    res = summarize(folder, ratings, ROWS, PAIRS, PUBLISHED, about(), record)
    def has(row, split): return {'rmse', 'ndcg', 'missing', 'more_trials'} & set(runs.get((row['name'], split), {}))
    def is_absent(row): return 'missing' in runs.get((row['name'], 'u1'), {})
    lack = [f"{row['name']} on {split}" for row,split in todo if not has(row, split) and not is_absent(row)]
    if lack:
        more = f' and {len(lack)-1} more' if len(lack) > 1 else ''
        print(f'not there yet: {lack[0]}{more}. The record goes to {folder/"record.json"}; {file} stays as it is')
        file = folder/'record.json'
    whole(file, lambda f: f.write_text(json.dumps(res, indent=1)+'\n', encoding='utf-8'))
    text = '\n\n'.join([record_table(res), gain_table(res)])
    whole(folder/'table.md', lambda f: f.write_text(text+'\n', encoding='utf-8'))
    draw(res, folder/'record.png')
    print(text)

if __name__ == '__main__': main()
