"""What `collab_nb train` costs, and how good its lists are next to the library implicit.

`python tests/bench/file_to_list.py` measures

* a million made-up ratings (6,040 users, 3,706 items) from CSV to a saved model of stars, and everybody's lists; next
  to it stock fastai (`CollabDataLoaders`, `collab_learner`) on the same file, one epoch of it;
* twelve trials each of `ials` and of implicit's ALS on the same rows of MovieLens-latest-small and of made-up clicks.

Each part is a process with one thread; CPU seconds and peak memory are the system's. implicit is asked in the peers'
environment (`make _bench/.venv/.installed`). MovieLens-latest-small (2016) was collected by GroupLens at the University
of Minnesota (Harper and Konstan, 2015); `get_latest_small` fetches it."""
import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
WORK = ROOT/'_bench'/'file_to_list'
PEERS = ROOT/'_bench'/'.venv'/'bin'/'python'
COMMAND = Path(sys.executable).with_name('collab_nb')

def measured(*words):
    "Run a process: what it printed, its CPU seconds, and its peak memory in GB"
    code = ('import resource,subprocess,sys\n'
            'res = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)\n'
            'use = resource.getrusage(resource.RUSAGE_CHILDREN)\n'
            'import json\n'
            'print(json.dumps([res.returncode, res.stdout, use.ru_utime+use.ru_stime, use.ru_maxrss/2**20]))')
    words = [str(w) for w in words]
    res = subprocess.run([sys.executable, '-c', code, *words], capture_output=True, text=True, check=True)
    status,text,cpu,memory = json.loads(res.stdout.splitlines()[-1])
    if status: raise RuntimeError(f'{words[0]} failed: {text}')
    return text,cpu,memory

# A million ratings

FASTAI = '''
import sys,torch,pandas as pd
from fastai.collab import CollabDataLoaders,collab_learner
torch.set_num_threads(1)
table = pd.read_csv(sys.argv[1])
dls = CollabDataLoaders.from_df(table, user_name='user', item_name='item', rating_name='rating', bs=64)
learn = collab_learner(dls, y_range=(0, 5.5))
with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 5e-3, wd=.1)
'''

def million():
    from collab_nb.synth import synth_ratings
    file = WORK/'million.csv'
    if not file.exists():
        table = synth_ratings(6040, 3706, 1_000_000, seed=0).rename(columns={'movie': 'item'})
        table.drop(columns='title').to_csv(file, index=False)
    for what,more in (('measured, then trained on all rows', ()), ('trained once, on four fifths', ('--no-refit',))):
        text,cpu,memory = measured(COMMAND, 'train', file, '--stars', '--out', WORK/'stars', '--force', '--json', *more)
        values = {r['model']: r['value'] for r in json.loads(text)['measures'] if r['question'] == 'rmse'}
        print(f'train --stars, {what}: {cpu:.1f} CPU s, {memory:.2f} GB; RMSE {values["stars"]:.4f}, '
              f'averages {values["averages"]:.4f}')
    _,cpu,memory = measured(COMMAND, 'recommend', WORK/'stars', '--everyone', WORK/'lists.csv')
    print(f'recommend --everyone: {cpu:.1f} CPU s, {memory:.2f} GB')
    _,cpu,memory = measured(sys.executable, '-c', FASTAI, file)
    print(f'stock fastai, one epoch: {cpu:.1f} CPU s, {memory:.2f} GB')

# Lists

def latest_small():
    "MovieLens-latest-small as a table, its columns named as in a shop"
    from collab_nb.data import get_latest_small,read_movielens
    table = read_movielens(get_latest_small())
    return table.drop(columns='title').rename(columns={'movie': 'item', 'timestamp': 'time'})

def clicks(n_users=3000, n_items=2000, n_tastes=12, seed=0):
    "Who clicked what in which order: items of one to three tastes, popular ones more often"
    rng = np.random.default_rng(seed)
    popular = 1/np.arange(1, n_items+1)**.9
    rng.shuffle(popular)
    taste = rng.integers(n_tastes, size=n_items)
    rows = []
    for u in range(n_users):
        liked = rng.choice(n_tastes, size=rng.integers(1, 4), replace=False)
        p = popular*np.where(np.isin(taste, liked), 12, 1)
        n = min(n_items//4, 3 + rng.geometric(1/12))
        rows += [(u, i, t) for t,i in enumerate(rng.choice(n_items, size=n, replace=False, p=p/p.sum()))]
    return pd.DataFrame(rows, columns=['user', 'item', 'time']).sample(frac=1, random_state=1).reset_index(drop=True)

OURS = '''
import sys,json,torch,pandas as pd
from collab_nb.evaluate import evaluate,popular
from collab_nb.fitting import LISTS,fit_lists,tune
torch.set_num_threads(1)
train,test = (pd.read_csv(f'{sys.argv[1]}_{part}.csv') for part in ('train', 'test'))
best = {k: v for k,v in tune('lists', train, 12)[0].items() if k != 'score'}
def ndcg(rec): return float(evaluate(rec, test, train, item='item').ndcg.mean())
print(json.dumps({'tuned': ndcg(fit_lists(train, **best)), 'defaults': ndcg(fit_lists(train)),
                  'popularity': ndcg(popular(train, item='item')), 'settings': best}))
'''

THEIRS = '''
import json,math,sys
import numpy as np,pandas as pd
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
parts = {name: pd.read_csv(f'{sys.argv[1]}_{name}.csv') for name in ('train', 'test', 'fit', 'tune')}
def ndcg(train, test, settings, k=10):
    users,items = sorted(train.user.unique()),sorted(train.item.unique())
    rows,cols = {u: r for r,u in enumerate(users)},{i: c for c,i in enumerate(items)}
    x = csr_matrix((np.ones(len(train), 'float32'), (train.user.map(rows), train.item.map(cols))))
    model = AlternatingLeastSquares(**settings, random_state=42, num_threads=1)
    model.fit(x, show_progress=False)
    who = test.user.unique()
    at = np.array([rows[u] for u in who])
    lists,_ = model.recommend(at, x[at], N=k, filter_already_liked_items=True)
    wanted = test.groupby('user')['item'].agg(set)
    gain = [1/math.log2(2+n) for n in range(k)]
    return float(np.mean([sum(g for g,i in zip(gain, l) if items[i] in wanted[u]) / sum(gain[:len(wanted[u])])
                          for u,l in zip(who, lists)]))
rng = np.random.default_rng(42)
def log(a, b): return float(np.exp(rng.uniform(np.log(a), np.log(b))))
default = {'factors': 64, 'regularization': .01, 'alpha': 1., 'iterations': 15}
drawn = [{'factors': int(rng.choice([16, 32, 64, 128])), 'regularization': log(.01, 100), 'alpha': log(.3, 40),
          'iterations': int(rng.choice([8, 15, 20]))} for _ in range(11)]
best = max([default, *drawn], key=lambda s: ndcg(parts['fit'], parts['tune'], s))
print(json.dumps({'tuned': ndcg(parts['train'], parts['test'], best),
                  'defaults': ndcg(parts['train'], parts['test'], default), 'settings': best}))
'''

def lists():
    from collab_nb.splits import user_split
    for name,table in (('latest_small', latest_small()), ('clicks', clicks())):
        train,test = (table.iloc[s] for s in user_split(table, timestamp='time'))
        fit,tune = (train.iloc[s] for s in user_split(train, timestamp='time'))
        for part,rows in (('train', train), ('test', test), ('fit', fit), ('tune', tune)):
            rows.to_csv(WORK/f'{name}_{part}.csv', index=False)
        for who,python,code in (('ials', sys.executable, OURS), ('implicit', PEERS, THEIRS)):
            text,cpu,_ = measured(python, '-c', code, WORK/name)
            print(f'{name}, {who}, 12 trials, {cpu:.1f} CPU s: {text.strip()}')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('part', nargs='?', choices=('million', 'lists'), help='one part; all of them otherwise')
    part = p.parse_args().part
    WORK.mkdir(parents=True, exist_ok=True)
    for name in (part,) if part else ('million', 'lists'): globals()[name]()
