"""`make bench`: every row on every split, in turn, one process and one thread at a time; then collab_nb/record.json, and a table and a chart under _bench/.

`--quick` tries everything in a few minutes and holds out rows of u1's training part in place of its test rows: nothing is learned about them. What finished is not run again; delete _bench/runs.jsonl to begin anew."""
import argparse
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

from protocol import inner_split
from report import FOLDS,RANDOM,draw,gains,read_runs,summarize,table
from rows import PAIRS,PUBLISHED,ROWS

HERE  = Path(__file__).parent
ROOT  = HERE.parents[1]
PEERS = ROOT/'_bench'/'.venv'/('Scripts' if os.name == 'nt' else 'bin')/'python'
ONE   = {k: '1' for k in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'NUMBA_NUM_THREADS', 'RAYON_NUM_THREADS', 'LK_NUM_THREADS', 'LK_NUM_BACKEND_THREADS')}

def prepare(folder):
    "Write the ratings with every column that a row may see, and the splits, where both environments can read them"
    from collab_nb.data import fold_split,get_ml100k,random_split,read_movies,read_ratings,read_users
    (folder/'predictions').mkdir(parents=True, exist_ok=True)
    path = get_ml100k()
    ratings = read_ratings(path)
    splits = {f: fold_split(ratings, k) for k,f in enumerate(FOLDS, 1)} | {f: random_split(ratings, valid_pct=.2, seed=k) for k,f in enumerate(RANDOM)}
    splits['quick'] = inner_split(splits['u1'], seed=8)
    for name,(train,test) in splits.items(): np.savez(folder/f'{name}.npz', train=train, test=test)
    ratings = ratings.drop(columns='title').merge(read_users(path).drop(columns='zip_code'), on='user', how='left').merge(read_movies(path)[['movie', 'year', 'genres']], on='movie', how='left')
    ratings.to_csv(folder/'ratings.csv', index=False)
    return ratings

def about():
    "Date, machine and versions"
    def versions(python):
        code = 'import importlib.metadata as m, json; print(json.dumps({d.metadata["Name"]: d.version for d in m.distributions()}))'
        have = json.loads(subprocess.run([python, '-c', code], capture_output=True, text=True).stdout) if Path(python).exists() else {}
        return {k: have[k] for k in ('numpy', 'pandas', 'torch', 'fastai', 'scikit-surprise', 'myfm', 'cornac', 'lenskit') if k in have}
    info = Path('/proc/cpuinfo')
    model = next((line.split(':')[1].strip() for line in info.read_text().splitlines() if line.startswith('model name')), '') if info.exists() else ''
    return {'date': datetime.date.today().isoformat(), 'command': 'make bench', 'machine': {'cpu': model or platform.processor() or platform.machine(), 'cores': os.cpu_count(), 'system': platform.system()},
            'python': platform.python_version(), 'versions': {'course': versions(sys.executable), 'peers': versions(PEERS)},
            'protocol': 'settings chosen on 8,000 rows cut from each split\'s own training part, by the stated number of trials; frozen; one run on the test rows; a fresh process and one thread each'}

def run_one(row, split, n_trials, folder):
    "A (row, split) in a process of its own: the result that it printed"
    python = PEERS if row['predict'].startswith('peers') else Path(sys.executable)
    if not python.exists(): return {'row': row['name'], 'split': split, 'missing': f'no environment for peers: {python}'}
    env = {**os.environ, **ONE, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore', 'CUDA_VISIBLE_DEVICES': ''}
    res = subprocess.run([python, HERE/'protocol.py', split, row['name'], str(n_trials), folder], capture_output=True, text=True, env=env)
    if res.returncode: return {'row': row['name'], 'split': split, 'missing': 'failed: '+(res.stderr.strip().splitlines() or ['?'])[-1]}
    return json.loads(res.stdout.splitlines()[-1])

def main():
    parser = argparse.ArgumentParser(prog='make bench', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='two trials each, rows of u1 alone, none of them test rows; record.json stays as it is')
    parser.add_argument('--rows', default='', help='only rows whose name contains this')
    parser.add_argument('--splits', default='', help='only these splits, e.g. u1,u2')
    parser.add_argument('--table', action='store_true', help='print the table of collab_nb/record.json and run nothing')
    args = parser.parse_args()
    record = ROOT/'collab_nb'/'record.json'
    if args.table:
        print(table(said := json.loads(record.read_text(encoding='utf-8'))), gains(said), sep='\n\n')
        return
    folder = ROOT/'_bench'/('quick' if args.quick else '')
    ratings = prepare(folder)
    splits = ['quick'] if args.quick else [s for s in FOLDS+RANDOM if s in (args.splits.split(',') if args.splits else FOLDS+RANDOM)]
    done = {key for key,r in read_runs(folder).items() if 'missing' not in r}
    for split in splits:
        for row in ROWS:
            if args.rows not in row['name'] or (row['name'], split) in done or (split in RANDOM and not row.get('confirm')): continue
            start = time.time()
            res = run_one(row, split, min(row['trials'], 2) if args.quick else row['trials'], folder)
            with open(folder/'runs.jsonl', 'a') as f: f.write(json.dumps(res)+'\n')
            print(f"{split:8} {row['name']:52} {res.get('missing') or '%.4f' % res['rmse']}   {time.time()-start:.0f} s", flush=True)
    if args.quick: return
    res = summarize(folder, ratings, ROWS, PAIRS, PUBLISHED, about())
    new = record.with_name(f'record.json.{os.getpid()}')
    new.write_text(json.dumps(res, indent=1)+'\n', encoding='utf-8')
    os.replace(new, record)
    (folder/'table.md').write_text(table(res)+'\n\n'+gains(res)+'\n', encoding='utf-8')
    draw(res, folder/'record.png')
    print(table(res))

if __name__ == '__main__': main()
