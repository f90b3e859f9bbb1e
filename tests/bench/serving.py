"""What serving costs on one thread: processor seconds and memory of each piece of work, beside what version 0.1 took.
    python tests/bench/serving.py            every row, a process each: a minute or two; stored for nbs/lib/serving
    python tests/bench/serving.py load       rows with this word in their names
Ratings are planted (`synth_ratings`), factors are random: the time doesn't depend on what they mean."""
import os

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'): os.environ[name] = '1'

import datetime
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

SHAPES = {'1M': (6_040, 3_706, 1_000_000), 'wide': (20_000, 30_000, 1_000_000), 'many': (100_000, 20_000, 1_000_000),
          'pairs': (69_871, 10_677, 1_000_000), 'catalog': (10, 87_585, 0)}

# name: (table, what 0.1 took and what was wanted, as text)
ROWS = {
    'from_learner, 1M ratings': ('1M', '1.4 s', '.3 s'), 'save, 1M ratings': ('1M', '1.9 s', '.4 s'),
    'load, 1M ratings': ('1M', '1.4 s', '.3 s'), 'evaluate all, 1M ratings': ('1M', '1.0 s, 500 MB', '.5 s, 200 MB'),
    'explain, the user with most ratings': ('1M', '5.9 s', '50 ms'), 'update, 500 new users': ('1M', '.48 s', '.15 s'),
    'update, 10,000 rows on 500 new items': ('1M', '6.0 s', '.4 s'),
    'update of one rating, 100k users': ('many', '162 ms', '5 ms'),
    'evaluate all, 20,000 x 30,000': ('wide', '42 s, 3.9 GB', '8 s, .6 GB'),
    'recommend_all, 20,000 x 30,000': ('wide', '13 s, 1.1 GB', '6 s, .6 GB'),
    'ten best of 87,585 items': ('catalog', '', '3 ms'),
    'ials, one iteration on 1M pairs': ('pairs', '2.95 s', '1.5 s'),
    'load and list in a new process': ('1M', '4.3 s, 380 MB', '1.0 s, 150 MB')}

def planted(shape, folder):
    "Users, items and ratings of a shape, made once: arrays of codes, and stars from 1 to 5"
    file = folder/f'{shape}.npz'
    if not file.exists():
        from collab_nb.synth import synth_ratings
        n,m,k = SHAPES[shape]
        df = synth_ratings(n, m, k, n_factors=8, noise=.5, seed=0) if k else None
        stars = df.rating.to_numpy().clip(1, 5).round().astype('f4') if k else np.zeros(0, 'f4')
        codes = [df[c].to_numpy()-1 if k else np.zeros(0, int) for c in ('user', 'movie')]
        np.savez(file, user=codes[0], item=codes[1], rating=stars)
    return np.load(file)

def recommender(shape, t):
    from collab_nb.serving import KnownRatings,StarRecommender
    n,m,_ = SHAPES[shape]
    rng = np.random.default_rng(0)
    known = KnownRatings.from_pairs(t['user'], t['item'], t['rating'], n)
    U,V = (rng.normal(size=(k, 50)).astype('f4')*.15 for k in (n, m))
    biases = {'user_bias': rng.normal(size=n)*.3, 'item_bias': rng.normal(size=m)*.3}
    return StarRecommender(U, V, **biases, y_range=(0, 5.5), known=known)

def learner(t):
    from fastai.collab import MSELossFlat

    from collab_nb.bias import DotProductBias
    from collab_nb.loader import Learner,rating_dls
    frame = pd.DataFrame({'user': t['user'], 'movie': t['item'], 'rating': t['rating']})
    dls = rating_dls(frame, splits=(np.arange(len(frame)), []), bs=8192)
    return Learner(dls, DotProductBias(dls.n_users, dls.n_items, 50), loss_func=MSELossFlat())

def work(name, shape, folder):
    "What is done before the clock runs, as a function that gives what's to be timed and how often"
    t = planted(shape, folder)
    rng = np.random.default_rng(1)
    n,m,_ = SHAPES[shape]
    def frame(user, movie): return pd.DataFrame({'user': user, 'movie': movie, 'rating': rng.integers(1, 6, len(user))})
    if name.startswith('from_learner'):
        from collab_nb.serving import Recommender
        learn = learner(t)
        return (lambda: Recommender.from_learner(learn)),1
    if name.startswith('ials'):
        from collab_nb.ranking import ials
        pairs = frame(t['user'], t['item'])
        more,less = (min(cost(lambda i=i: ials(pairs, n_factors=64, n_iter=i)) for _ in range(2)) for i in (3, 1))
        return (more-less)/2,1     # what reading the table costs is in both
    rec = recommender(shape, t)
    if name.startswith('evaluate'):
        from collab_nb.evaluate import evaluate
        last = pd.Series(t['user']).duplicated(keep='last').to_numpy()
        train,test = frame(t['user'][last], t['item'][last]),frame(t['user'][~last], t['item'][~last])
        return (lambda: evaluate(rec, test, train)),1
    if name.startswith('recommend_all'): return (lambda: rec.recommend_all(10)),1
    if name.startswith('ten best'): return (lambda: rec.recommend(1)),30
    if name.startswith('explain'):
        most = int(np.diff(rec.known.starts).argmax())
        return (lambda: rec.explain(most, 5)),5
    if name.startswith('update of one'): return (lambda: rec.update(frame([5], [7]))),30
    if name.startswith('update, 500'):
        new = frame(np.repeat(np.arange(500)+10**6, 20), rng.integers(0, m, 10_000))
        return (lambda: rec.update(new)),3
    if name.startswith('update, 10,000'):
        new = frame(rng.integers(0, n, 10_000), rng.integers(10**6, 10**6+500, 10_000))
        return (lambda: rec.update(new)),1
    if name.startswith('save'): return (lambda: rec.save(folder/'rec')),3
    rec.save(folder/'rec')
    return (lambda: type(rec).load(folder/'rec')),3

def cost(f):
    start = time.process_time()
    f()
    return time.process_time()-start

def most_mb(reset=False):
    "Most memory so far in MB; `reset` lets Linux begin anew from what's held now"
    status = Path('/proc/self/status')
    if reset and status.exists(): Path('/proc/self/clear_refs').write_text('5')
    if not status.exists(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
    return int(next(line for line in status.read_text().splitlines() if line.startswith('VmHWM')).split()[1])/1024

NEW_PROCESS = """import resource,sys,time
from collab_nb.serving import Recommender
rec = Recommender.load(sys.argv[1])
rec.recommend(5)
print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)"""

def run(name, folder):
    "Print a row's seconds and megabytes as JSON"
    if name.startswith('load and list'):
        recommender('1M', planted('1M', folder)).save(folder/'rec')
        command = [sys.executable, '-c', NEW_PROCESS, str(folder/'rec')]
        seconds,mb = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    else:
        f,times = work(name, ROWS[name][0], folder)
        before = most_mb(reset=True)
        seconds = f if isinstance(f, float) else float(np.median([cost(f) for _ in range(times)]))
        mb = most_mb() - before
    print(json.dumps({'seconds': seconds, 'mb': mb}))

STORED = Path(__file__).parents[2]/'nbs'/'lib'/'serving_costs.json'

def processor():
    "What the processor calls itself"
    try: return next(line.split(': ')[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name'))
    except (OSError, StopIteration): return platform.processor()

def main(words):
    if words[:1] == ['--row']: return run(words[1], Path(words[2]))
    rows = []
    print(f"{'work':38} {'0.1':>16} {'wanted':>16} {'now: CPU s':>12} {'MB more':>8}")
    with tempfile.TemporaryDirectory() as folder:
        chosen = {name: row for name,row in ROWS.items() if not words or any(w in name for w in words)}
        for name,(shape,before,wanted) in chosen.items():
            planted(shape, Path(folder))     # in this process, so that the memory of making it isn't counted
            out = subprocess.run([sys.executable, __file__, '--row', name, folder], capture_output=True, text=True)
            if out.returncode: sys.exit(f'{name}:\n{out.stderr[-2000:]}')
            got = json.loads(out.stdout.splitlines()[-1])
            print(f"{name:38} {before:>16} {wanted:>16} {got['seconds']:12.4f} {got['mb']:8.0f}", flush=True)
            rows.append({'work': name, '0.1': before, 'wanted': wanted, 'CPU s': round(got['seconds'], 4),
                         'MB more': round(got['mb'])})
    if words: return
    about = {'machine': f'one thread of {processor()}', 'date': str(datetime.date.today())}
    STORED.write_text(json.dumps({**about, 'rows': rows}, indent=1)+'\n', encoding='utf-8')

if __name__ == '__main__': main(sys.argv[1:])
