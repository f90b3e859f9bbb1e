"""How a row of the bench is made: chosen inside the training part, frozen, one run on the test rows.

`python protocol.py SPLIT ROW TRIALS FOLDER` is one (row, split) in a process of its own. Its last line is the result as JSON, its predictions go to FOLDER/predictions.
It needs numpy and pandas alone, so that it runs in the peers' environment as in the course's."""
import importlib
import json
import re
import resource
import sys
from pathlib import Path

import numpy as np
import pandas as pd

SIDE    = ['age', 'gender', 'occupation', 'year', 'genres']
COLUMNS = {'ratings': [], 'side': SIDE, 'day': [*SIDE, 'timestamp']}     # what a row of this kind sees besides user, movie and rating
N_VALID = 8_000

def inner_split(
    splits, # Row positions (train, test)
    seed:int=7, # The same seed gives the same rows
    n:int=N_VALID, # Number of rows to choose on
)->tuple: # Row positions (fit, valid): the training rows cut in two
    "Rows to choose on, cut from a split's own training part; its test rows are not looked at"
    train = np.asarray(splits[0])
    order = np.random.RandomState(seed).permutation(len(train))
    return np.sort(train[order[n:]]),np.sort(train[order[:n]])

def draw(space, rng):
    "One setting of each name in `space`: a list is chosen from, a pair (low, high) is drawn evenly on a log scale"
    return {k: float(f'{np.exp(rng.uniform(*np.log(v))):.3g}') if isinstance(v, tuple) else v[rng.randint(len(v))] for k,v in space.items()}

def trials(row, n, seed=0):
    "The `n` settings that a row tries: the one that it comes with, then random ones, none of them twice; the same for every split"
    rng,res = np.random.RandomState(seed),[row['default']][:n]
    while len(res) < n:
        new = draw(row['space'], rng)
        if new not in res: res.append(new)
    return res

def rmse(stars, preds): return float(np.sqrt(np.mean((np.asarray(stars, 'float64')-preds)**2)))

def look(frame, kind, rating=True):
    "The columns that a row of this kind may see"
    return frame[['user', 'movie', *(['rating'] if rating else []), *COLUMNS[kind]]].reset_index(drop=True)

def predict(row, train, test, **settings):
    "Fit on `train`, predict `test`, whose ratings are withheld: stars (n,) clipped to 1..5, and the probabilities of the five stars (n, 5) where the model has them"
    module,_,name = row['predict'].partition(':')
    out = getattr(importlib.import_module(module), name)(look(train, row['kind']), look(test, row['kind'], rating=False), seed=0, **settings)
    preds,probs = out if isinstance(out, tuple) else (out, None)
    preds = np.clip(np.asarray(preds, dtype='float64'), 1, 5)
    if preds.shape != (len(test),) or not np.isfinite(preds).all(): raise ValueError(f'want {len(test)} finite numbers')
    return preds,probs

def cpu():
    "Processor seconds of this process so far"
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime+use.ru_stime

def coverage(probs, stars, levels=(.5, .8, .95), seed=0):
    "Share of the ratings inside central intervals of these nominal `levels` (by randomised PIT: a star stands for an interval of probability), and the loss -log p"
    rows,at = np.arange(len(stars)),np.asarray(stars, dtype=int)-1
    below = np.cumsum(probs, 1)[rows, at]-probs[rows, at]
    pit = below + np.random.RandomState(seed).rand(len(at))*probs[rows, at]
    return {'inside': [float((np.abs(pit-.5) <= level/2).mean()) for level in levels], 'nll': float(-np.log(probs[rows, at].clip(1e-12)).mean())}

def run(row, ratings, splits, n_trials, quick=False):
    "Choose on the inner rows, freeze, fit on the whole training part, predict the test rows: a result and the predictions"
    for name in row.get('needs', []): importlib.import_module(name)     # before the clock starts
    importlib.import_module(row['predict'].partition(':')[0])
    train,test = (ratings.iloc[s] for s in splits)
    fit,valid = (ratings.iloc[s] for s in inner_split(splits, n=min(N_VALID, len(train)//10)))
    start,tried = cpu(),[]
    for settings in trials(row, n_trials):
        preds,_ = predict(row, fit, valid, **{**settings, **row.get('while_trying', {})})
        tried.append((rmse(valid.rating, preds), settings))
    best,settings = min(tried, key=lambda t: t[0]) if tried else (None, row['default'])
    chosen = cpu()
    if quick: settings = {**settings, **row.get('while_trying', {})}
    preds,probs = predict(row, train, test, **settings)
    result = {'rmse': rmse(test.rating, preds), 'valid': best, 'settings': settings, 'trials': len(tried), 'cpu': round(cpu()-chosen, 2), 'cpu_trials': round(chosen-start, 2),
              'mb': round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024), 'tried': tried}
    if probs is not None: result['coverage'] = coverage(probs, test.rating)
    return result,preds

def slug(name): return re.sub(r'\W+', '-', name.replace('++', 'pp')).strip('-').lower()

def main(split, name, n_trials, folder):
    from rows import ROWS
    row = next(r for r in ROWS if r['name'] == name)
    result = {'row': name, 'split': split}
    folder = Path(folder)
    splits = np.load(folder/f'{split}.npz')
    try: more,preds = run(row, pd.read_csv(folder/'ratings.csv'), (splits['train'], splits['test']), int(n_trials), quick=split == 'quick')
    except ImportError as e: result['missing'] = f'{type(e).__name__}: {e}'
    else:
        result.update(more)
        np.save(folder/'predictions'/f'{slug(name)}-{split}.npy', preds)
    print('\n'+json.dumps(result))

if __name__ == '__main__': main(*sys.argv[1:])
