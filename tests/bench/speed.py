"""`make bench PART=speed`: processor seconds, RMSE and peak memory of every row, on one thread, one process at a time.

Two tables: 10 million planted ratings, of which 5% are held out and the best possible RMSE is known, and MovieLens-100k
(80/20). Test rows whose user or movie isn't in training are left out: not every peer has an answer for them. The rows
about lists see who gave at least four stars, and are scored by NDCG@10 over all movies, for 2,000 users.

Every row gets the same number of trials. On the large table they're made on a tenth of the users with all of their
training rows, so that a user has as many ratings as in the whole (a movie has a tenth; random rows would thin out
both); 5% of those are the rows to choose on. On MovieLens-100k all training rows are used, 8,000 of them to choose on.
Test rows are never looked at for this. The trial with the lowest RMSE counts; of lists, the cheapest one that is as
good as the weakest row's best, so that they're compared at equal NDCG.

Then the fits, in turn: three rounds, one for a row that takes over half a minute; medians count. Imports and compiling
aren't timed: each process fits a tiny table first. Rows that would take too long on 10 million ratings are timed on
that tenth of the users, and say so; their error and memory are the tenth's. Memory is the peak of the whole process
up to the end of the fit, with the arrays that it was given and what it imports (fastai alone is about 400 MB).

Our own defaults, which are the first trial, were chosen on MovieLens-100k long ago, on other splits' training rows;
so may have been those of others.

What has finished isn't run again: results are lines of _bench/speed/runs.jsonl. The summary goes to
tests/bench/speed.json, and six rows to README. `--quick` runs everything on small tables in _bench/speed/quick and
leaves both files alone."""
import argparse
import datetime
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from protocol import whole
from speed_rows import ROWS,compact,of_table,tries

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STORED = HERE/'speed.json'
README_FILE = ROOT/'README.md'
BOOK = {'k': 10, 'trials': 8, 'rounds': 3, 'once': 30, 'limit': 1500}
QUICK = {**BOOK, 'trials': 2, 'rounds': 1, 'limit': 120}
WANTED = {'learner': 'at most 1/10 of stock\'s CPU with no loss, 1/25 within .005 (squared stars)'}

def driver():
    "What `make bench` knows of the machine and of both environments"
    spec = importlib.util.spec_from_file_location('bench_driver', HERE/'__main__.py')
    res = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(res)
    return res

# Tables

def known(train, test):
    "Codes of the training rows, and of the test rows whose user and movie are among them: as arrays to store"
    table,(users,items) = compact(*train)
    u,i = users[test[0]],items[test[1]]
    keep = (u >= 0) & (i >= 0)
    of = {'train': (table.u, table.i, table.r), 'test': (u[keep], i[keep], test[2][keep])}
    return {f'{part}_{c}': a for part,arrays in of.items() for c,a in zip('uir', arrays)}

def store(file, arrays): whole(file, lambda f: np.savez(f, **arrays))

def cut(arrays, at): return tuple(a[at] for a in arrays)

def planted(folder, n_users, n_items, n, n_factors=10):
    """The planted table: the whole, the slice (a tenth of the users, with all of their rows), the rows to choose on
    inside the slice's training part; and what's known of the whole"""
    from collab_nb.synth import synth_ratings
    made = synth_ratings(n_users, n_items, n, n_factors=n_factors, noise=.6, seed=1)
    truth = made.attrs['truth']
    u,i = (made[c].to_numpy().astype('int32')-1 for c in ('user', 'movie'))
    r = made.rating.to_numpy(dtype='float32')
    rng = np.random.default_rng(0)
    held = rng.random(n) < .05
    train,test = cut((u, i, r), ~held),cut((u, i, r), held)
    tenth = rng.permutation(n_users)[:n_users//10]
    few = [cut(part, np.isin(part[0], tenth)) for part in (train, test)]
    inner = rng.random(len(few[0][0])) < .05
    store(folder/'10M.npz', known(train, test))
    store(folder/'10M-slice.npz', known(*few))
    store(folder/'10M-trials.npz', known(cut(few[0], ~inner), cut(few[0], inner)))
    rmse = lambda p: float(np.sqrt(np.mean((p-test[2])**2)))
    seen = np.bincount(train[1], minlength=n_items)
    means = np.bincount(train[1], train[2], minlength=n_items)/seen.clip(1)
    return {'users': n_users, 'items': n_items, 'ratings': n, 'factors': n_factors, 'held out': int(held.sum()),
            'floor': rmse(truth.predict(test[0]+1, test[1]+1)), 'movie means': rmse(means[test[1]]),
            'mean': rmse(np.full(held.sum(), train[2].mean()))}

def small(folder, ratings, n_valid=8000):
    "MovieLens-100k, or a table like it: the whole, and the rows to choose on"
    from collab_nb.splits import inner_split,random_split
    columns = [ratings[c].astype('category').cat.codes.to_numpy().astype('int32') for c in ('user', 'movie')]
    columns.append(ratings.rating.to_numpy(dtype='float32'))
    splits = random_split(ratings, seed=0)
    fit,valid = inner_split(splits, n=min(n_valid, len(ratings)//10))
    store(folder/'100k.npz', known(*(cut(columns, rows) for rows in splits)))
    store(folder/'100k-trials.npz', known(cut(columns, fit), cut(columns, valid)))
    return {'ratings': len(ratings), 'held out': len(splits[1])}

def prepare(folder, quick):
    "Make the tables, once"
    folder.mkdir(parents=True, exist_ok=True)
    about = folder/'tables.json'
    if about.exists(): return json.loads(about.read_text())
    if quick:
        from collab_nb.synth import synth_ratings
        like_ml100k = synth_ratings(300, 200, 12_000, seed=3)
        res = {'10M': planted(folder, 2000, 500, 100_000, n_factors=3), '100k': small(folder, like_ml100k)}
    else:
        from collab_nb.data import get_ml100k,read_ratings
        res = {'10M': planted(folder, 69_878, 10_677, 10_000_000),
               '100k': small(folder, read_ratings(get_ml100k()))}
    whole(about, lambda f: f.write_text(json.dumps(res)))
    return res

# Jobs

def digest(row, n_trials):
    said = {k: row[k] for k in ('fit', 'default', 'space', 'task')} | {'trials': n_trials, 'slice': row.get('slice')}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]

def read_runs(folder):
    "{(row, table, kind, run): result}: the last one counts"
    file = folder/'runs.jsonl'
    lines = file.read_text(encoding='utf-8').splitlines() if file.exists() else []
    runs = [json.loads(line) for line in lines if line.endswith('}')]
    return {(r['row'], r['table'], r['kind'], r['run']): r for r in runs}

def process(job, python, env, limit):
    "A job in a process of its own: what it printed, or why there's nothing"
    if not python.exists(): return {'missing': 'no environment for the peers'}
    env = {**os.environ, **env, 'POLARS_MAX_THREADS': '1', 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore',
           'CUDA_VISIBLE_DEVICES': ''}
    command = [python, HERE/'speed_rows.py', json.dumps(job)]
    try: out = subprocess.run(command, capture_output=True, text=True, env=env, timeout=limit)
    except subprocess.TimeoutExpired: return {'failed': f'stopped after {limit} s'}
    if out.returncode: return {'failed': (out.stderr.strip().splitlines() or [f'exit code {out.returncode}'])[-1][:300]}
    return json.loads(out.stdout.splitlines()[-1])

class Bench:
    "What's done, and how to do the rest"
    def __init__(self, folder, book, go=process):
        self.folder,self.book,self.go,self.runs = folder,book,go,read_runs(folder)
        about = driver()
        self.peers,self.env = about.PEERS,about.ONE
        old = json.loads(STORED.read_text()) if STORED.exists() else {}
        self.stored = {tuple(k.split(' | ')): v for k,v in old.get('seconds', {}).items()}

    def done(self, row, table, kind, run=0, settings=None):
        "The result, if it's of this row as it is now, with these settings"
        res = self.runs.get((row['name'], table, kind, run), {})
        same = res.get('digest') == digest(row, self.book['trials']) and settings in (None, res.get('settings'))
        return res if same and not {'missing', 'failed'} & set(res) else None

    def job(self, row, table, kind, run=0, **more):
        "Do it unless it's done, and keep what came of it"
        if res := self.done(row, table, kind, run, more['settings'] if kind == 'fit' else None): return res
        part = '-trials' if kind == 'trials' else '-slice' if table == '10M' and row.get('slice') else ''
        job = {'row': row['name'], 'table': table, 'kind': kind, 'file': str(self.folder/f'{table}{part}.npz'), **more}
        guess = self.stored.get((row['name'], table, kind))
        print(f"{datetime.datetime.now():%H:%M:%S} {table:5} {kind:7} {row['name']:36}", end='', flush=True)
        if guess: print(f' about {guess:.0f} s:', end='', flush=True)
        load,start = round(os.getloadavg()[0], 2) if hasattr(os, 'getloadavg') else None,time.time()
        python = self.peers if row['group'] == 'peer' else Path(sys.executable)
        res = self.go(job, python, self.env, self.book['limit'])
        res = {**{k: job[k] for k in ('row', 'table', 'kind')}, 'run': run, 'load': load,
               'digest': digest(row, self.book['trials']), 'date': datetime.date.today().isoformat(),
               'seconds': round(time.time()-start, 1), **res}
        with open(self.folder/'runs.jsonl', 'a', encoding='utf-8') as f: f.write(json.dumps(res)+'\n')
        self.runs[row['name'], table, kind, run] = res
        print(f" {res['seconds']:.0f} s, {said(res)}", flush=True)
        return res

    def tried(self, row, table):
        "Trials that didn't fail"
        res = self.done(of_table(row, table), table, 'trials') or {'tried': []}
        return [t for t in res['tried'] if 'failed' not in t]

    def settings(self, row, table):
        "Those of the best trial; of lists, of the cheapest that is as good as the weakest row's best"
        mine = self.tried(row, table)
        if not mine: return None
        if row['task'] == 'stars': return min(mine, key=lambda t: t['rmse'])['settings']
        all_of = [self.tried(r, table) for r in ROWS if r['task'] == 'lists' and table in r['tables']]
        enough = min(max(t['ndcg'] for t in of) for of in all_of if of)
        return min((t for t in mine if t['ndcg'] >= enough), key=lambda t: t['cpu'])['settings']

    def trials(self, row, table):
        row = of_table(row, table)
        self.job(row, table, 'trials', settings=tries(row, self.book['trials']))

    def fit(self, row, table, run):
        "A fit with the settings that the trials came to. A row that takes long is fitted once"
        settings,row = self.settings(row, table),of_table(row, table)
        if settings is None: return
        first = self.done(row, table, 'fit', 0, settings)
        if not run or first and first['cpu'] <= self.book['once']: self.job(row, table, 'fit', run, settings=settings)

    def estimate(self, jobs, rounds):
        """About how many seconds the fits that are left take: ten times the chosen trial, which had a tenth of the
        rows, or as long as it; and some for starting each process"""
        res = 0
        for row,table in jobs:
            settings = self.settings(row, table)
            if settings is None: continue
            cpu = next(t['cpu'] for t in self.tried(row, table) if t['settings'] == settings)
            cpu *= 10 if table == '10M' and not row.get('slice') else 1
            done = [r for k in range(rounds) if (r := self.done(of_table(row, table), table, 'fit', k, settings))]
            if done: cpu = done[0]['cpu']
            res += ((rounds if cpu <= self.book['once'] else 1)-len(done))*(cpu+5)
        return res

def said(res):
    for k in ('missing', 'failed'):
        if k in res: return f'{k}: {res[k]}'
    if 'tried' in res: return f"{len(res['tried'])} trials, {sum(t.get('cpu', 0) for t in res['tried']):.1f} CPU s"
    if 'cpu' in res: return f"{res['cpu']:.2f} CPU s, {res.get('rmse', res.get('ndcg')):.4f}, {res['mb']} MB"
    return ', '.join(f'{k} {v}' for k,v in res.items() if k in ('ratio', 'same_bits', 'gain'))

CODED = {'n_factors': 50, 'reg': .03, 'nu': .9, 'epochs': 6}     # chosen on 3% of the large table's training rows

def extras(bench, quick):
    """Two threads; from codes to rows; what the Learner's fast path and the compiled kernel lose or gain on the
    scoreboard's splits"""
    row = of_table(next(r for r in ROWS if r['name'] == 'compiled kernel'), '10M')
    fit = bench.done(row, '10M', 'fit')
    if fit: bench.job(row, '10M', 'threads', settings=fit['settings'], runs=1 if quick else 6)
    bench.job(row, '10M', 'coded', settings=CODED, runs=1 if quick else 3)
    row = of_table(row, '100k')
    for kind in ('kept', 'five'):
        bench.job(row, '100k', kind, settings={}, quick=quick)

# Summary

def summarize(bench, tables, about):
    "Medians by row and table, the extras, and how long each job took"
    runs,res = bench.runs,[]
    for row in ROWS:
        for table in row['tables']:
            mine = [runs[k] for k in sorted(runs) if k[:3] == (row['name'], table, 'fit')]
            tried = runs.get((row['name'], table, 'trials', 0), {})
            line = {'row': row['name'], 'table': table, 'group': row['group'], 'task': row['task']}
            settings,now = bench.settings(row, table),of_table(row, table)
            fits = [r for k in range(bench.book['rounds']) if (r := bench.done(now, table, 'fit', k, settings))]
            if not fits:
                why = next((f'{k}: {r[k]}' for r in [*mine, tried] for k in ('missing', 'failed') if k in r), 'not run')
                res.append({**line, 'why': why})
                continue
            middle = lambda k,fits=fits: float(np.median([r[k] for r in fits]))
            line |= {'cpu': round(middle('cpu'), 3), 'preparing': round(middle('preparing'), 3), 'mb': middle('mb'),
                     'runs': len(fits), 'trials': len(tried['tried']), 'settings': fits[0]['settings'],
                     'load': max(r['load'] or 0 for r in fits), 'versions': fits[0]['versions'],
                     'date': fits[-1]['date']}
            line['ndcg' if row['task'] == 'lists' else 'rmse'] = middle('ndcg' if row['task'] == 'lists' else 'rmse')
            if 'ratings_per_s' in fits[0]: line['ratings_per_s'] = round(middle('ratings_per_s'))
            if table == '10M' and row.get('slice'): line['slice'] = 10
            res.append(line)
    extra = {k: next((r for key,r in runs.items() if key[2] == k), None) for k in ('threads', 'coded', 'kept', 'five')}
    seconds = {' | '.join(k[:3]): r['seconds'] for k,r in runs.items() if k[3] == 0}
    return {**about, 'tables': tables, 'rows': res, **extra, 'seconds': seconds}

def shown(line):
    "A row's cells"
    if 'why' in line: return [line['row'], line['why'], *['']*6]
    times = line.get('slice', 1)
    cpu = f"{line['cpu']*times:,.2f}" if line['cpu']*times < 10 else f"{line['cpu']*times:,.0f}"
    split = f"{line['preparing']*times:.2f} + {(line['cpu']-line['preparing'])*times:.2f}"
    error = f"{line['rmse']:.4f}" if 'rmse' in line else f"{line['ndcg']:.4f}"
    note = 'timed on a tenth, x10; that tenth\'s error' if times > 1 else ''
    return [line['row'], cpu, split, error, f"{line['mb']:,.0f}", str(line['trials']), str(line['runs']), note]

def markdown(head, rows):
    width = [max(len(r[k]) for r in [head, *rows]) for k in range(len(head))]
    line = lambda cells: '| '+' | '.join(c.ljust(w) for c,w in zip(cells, width))+' |'
    return '\n'.join([line(head), '|'+'|'.join('-'*(w+2) for w in width)+'|', *map(line, rows)])

def table_of(res, table, task='stars'):
    "The Markdown table of one table's rows"
    head = ['row', 'CPU s', 'preparing + fitting', 'RMSE' if task == 'stars' else 'NDCG@10', 'peak MB', 'trials',
            'runs', '']
    return markdown(head, [shown(r) for r in res['rows'] if (r['table'], r['task']) == (table, task)])

README = ['stock fastai', "Learner's fast path, batches of 16,384", 'Cornac MF', 'LIBMF',
          'cmfrec, ALS by conjugate gradient', 'compiled kernel']

def readme_table(res, names=README):
    "Six rows of the large table for README, in Markdown, slowest first"
    rows = [r for r in res['rows'] if r['table'] == '10M' and r['row'] in names and 'cpu' in r]
    rows.sort(key=lambda r: -r['cpu']*r.get('slice', 1))
    cells = [[r['row']+(' \\*' if 'slice' in r else ''), *(shown(r)[k] for k in (1, 3, 4))] for r in rows]
    text = markdown(['10 million planted ratings, one thread', 'CPU s', 'RMSE', 'peak MB'], cells)
    foot = f"The best possible RMSE is {res['tables']['10M']['floor']:.3f}."
    if any('slice' in r for r in rows): foot += ' \\* timed on a tenth of the users, times ten.'
    return f'{text}\n\n{foot}'

def into_readme(text, table):
    "README with another table of speed"
    from collab_nb.tools.chapters import between_marks
    return between_marks(text, 'speed', table)

def report(res):
    "Everything as text"
    t = res['tables']
    large,small = t['10M'],t['100k']
    of = (f"{large['users']:,} users, {large['items']:,} movies, {large['ratings']:,} planted ratings: best possible "
          f"RMSE {large['floor']:.4f}, movie means {large['movie means']:.4f}, mean {large['mean']:.4f}")
    parts = [of, table_of(res, '10M'), 'Lists: its ratings of four stars and more', table_of(res, '10M', 'lists'),
             f"MovieLens-100k: {small['ratings']:,} ratings, {small['held out']:,} held out", table_of(res, '100k'),
             'Lists: its ratings of four stars and more', table_of(res, '100k', 'lists')]
    speeds = [f"{r['table']}: {r['ratings_per_s']/1e6:.1f} million ratings a second over the epochs, "
              f"{r['cpu']:.2f} CPU s from DataFrame to Recommender" for r in res['rows'] if 'ratings_per_s' in r]
    if speeds: parts.append('Compiled kernel\n'+'\n'.join(speeds))
    if (res.get('coded') or {}).get('cpu'):
        got = res['coded']
        parts.append(f"Compiled kernel from codes to rows, {got['settings']['epochs']} epochs: {got['cpu']:.2f} CPU s, "
                     f"{got['preparing']:.2f} of them sorting; {got['ratings_per_s']/1e6:.1f} million ratings a second "
                     f"over the epochs, RMSE {got['rmse']:.4f}")
    if (res['threads'] or {}).get('ratio'):
        parts.append(f"Compiled kernel, two threads: {res['threads']['ratio']:.2f} times as fast as one over the "
                     'epochs; the same bits')
    if (res['kept'] or {}).get('paths'):
        kept = res['kept']
        parts.append('\n'.join([f"Learner kept (stock fastai, batches of 64: {kept['stock']:.2f} CPU s an epoch)", *(
            f"batches of {p['bs']:5,} (lr {p['lr']}, wd {p['wd']}): 1/{kept['stock']/p['cpu']:.1f} of stock's CPU, "
            f"MSE {p['mse']:.4f}, gain over the bias model {p['gain']}" for p in kept['paths']),
            f"wanted: {WANTED['learner']}"]))
    if (res['five'] or {}).get('gain'):
        five = res['five']
        parts.append(f"Compiled kernel on the scoreboard's five splits: MSE {five['mse']:.4f}, "
                     f"bias model {five['rival']:.4f}, gain {five['gain']}")
    return '\n\n'.join(parts)

def main(argv=None):
    parser = argparse.ArgumentParser(prog='make bench PART=speed', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='small tables, two trials, one round; stores nothing')
    parser.add_argument('--rows', default='', help='only rows whose name contains this')
    parser.add_argument('--tables', default='10M,100k', help='only these tables')
    parser.add_argument('--rounds', type=int, help='only so many rounds of fits; a later run does the rest')
    parser.add_argument('--table', action='store_true', help='print what is stored and run nothing')
    args = parser.parse_args(argv)
    if args.table:
        stored = json.loads(STORED.read_text())
        print(report(stored), readme_table(stored), sep='\n\n')
        return 0
    about = driver()
    folder = ROOT/'_bench'/'speed'/('quick' if args.quick else '')
    with about.alone(folder): return run(args, folder, about.about())

def run(args, folder, about):
    "Do what isn't done, in turn; add it up; 1 if a row failed that isn't a peer"
    tables = prepare(folder, args.quick)
    bench = Bench(folder, QUICK if args.quick else BOOK)
    jobs = [(row, table) for table in args.tables.split(',') for row in ROWS
            if args.rows in row['name'] and table in row['tables']]
    rounds = args.rounds or bench.book['rounds']
    known = [seconds for key,seconds in bench.stored.items() if key not in {k[:3] for k in bench.runs}]
    if known: print(f'all that is left took {sum(known)/60:.0f} minutes when the result was stored', flush=True)
    for row,table in jobs: bench.trials(row, table)
    print(f'the fits take about {bench.estimate(jobs, rounds)/60:.0f} minutes', flush=True)
    for k in range(rounds):
        for row,table in jobs: bench.fit(row, table, k)
    if not args.rows: extras(bench, args.quick)
    keep = ('machine', 'python', 'date')
    res = summarize(bench, tables, {k: about[k] for k in keep} | {'protocol': ' '.join(__doc__.split())})
    print('\n'+report(res)+'\n\n'+readme_table(res))
    lack = [f"{r['row']} on {r['table']}" for r in res['rows'] if r.get('why') == 'not run']
    if args.quick or lack:
        if lack: print(f'\nnot there yet: {lack[0]} and {len(lack)-1} more; {STORED.name} stays as it is')
    else:
        whole(STORED, lambda f: f.write_text(json.dumps(res, indent=1)+'\n', encoding='utf-8'))
        readme = into_readme(README_FILE.read_text(encoding='utf-8'), readme_table(res))
        whole(README_FILE, lambda f: f.write_text(readme, encoding='utf-8'))
    return int(any('failed' in r.get('why', '') for r in res['rows'] if r['group'] != 'peer'))

if __name__ == '__main__': sys.exit(main())
