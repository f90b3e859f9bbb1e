"""How a row of the bench is made: chosen inside the training part, frozen, one run on the test rows.

`python protocol.py SPLIT ROW TRIALS FOLDER` is one (row, split) in a process of its own. Its last line is the result as
JSON, its predictions go to FOLDER/predictions. It needs only numpy and pandas, so that it runs in the peers'
environment as well as in the course's."""
import hashlib
import importlib
import json
import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

SIDE    = ['age', 'gender', 'occupation', 'zip_code', 'year', 'genres']
COLUMNS = {'ratings': [], 'side': SIDE, 'day': [*SIDE, 'timestamp']}     # what a row sees besides user, movie, rating

def draw(space, rng):
    "One setting of each name in `space`: a list is chosen from, a pair (low, high) is drawn evenly on a log scale"
    def one(v):
        if isinstance(v, tuple): return float(f'{np.exp(rng.uniform(*np.log(v))):.3g}')
        return v[rng.randint(len(v))]
    return {k: one(v) for k,v in space.items()}

def trials(row, n, seed=0):
    "The `n` settings that a row tries: its default, then random ones, no two alike; the same for every split"
    rng = np.random.RandomState(seed)
    res = [row['default']][:n]
    for _ in range(1+100*n):
        if len(res) == n: return res
        new = draw(row['space'], rng)
        if new not in res: res.append(new)
    raise ValueError(f"the space of {row['name']!r} holds fewer than {n} settings")

def digest(row):
    "What a result of this row depends on, in eight letters: a row that changed has another"
    said = {k: row.get(k) for k in ('predict', 'kind', 'trials', 'default', 'space', 'while_trying', 'rung', 'seeds')}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]

def rmse(stars, preds): return float(np.sqrt(np.mean((np.asarray(stars, 'float64')-preds)**2)))

def look(frame, kind, rating=True):
    "The columns that a row of this kind may see"
    return frame[['user', 'movie', *(['rating'] if rating else []), *COLUMNS[kind]]].reset_index(drop=True)

def named(what):
    "The function called `what`, as module:function"
    module,_,name = what.partition(':')
    return getattr(importlib.import_module(module), name)

def predict(row, train, test, seed=0, **settings):
    """Fit on `train`, predict `test`, whose ratings are withheld: stars (n,) clipped to 1..5,
    and the probabilities of the five stars (n, 5) when the model has them"""
    out = named(row['predict'])(look(train, row['kind']), look(test, row['kind'], rating=False), seed=seed, **settings)
    preds,probs = out if isinstance(out, tuple) else (out, None)
    preds = np.clip(np.asarray(preds, dtype='float64'), 1, 5)
    if preds.shape != (len(test),) or not np.isfinite(preds).all():
        raise ValueError(f"predictions must be {len(test)} finite numbers, got shape {preds.shape}")
    return preds,probs

def peak():
    "Most memory that this process held, in MB, as Linux has it (`ru_maxrss` would count the parent's); elsewhere None"
    status = Path('/proc/self/status')
    lines = status.read_text().splitlines() if status.exists() else []
    return next((round(int(line.split()[1])/1024) for line in lines if line.startswith('VmHWM')), None)

def coverage(probs, stars, levels=(.5, .8, .95), seed=0):
    """Share of the ratings inside central intervals of these nominal `levels` (by randomized PIT: a star is an interval
    of probability), and the loss -log p"""
    rows = np.arange(len(stars))
    at = np.asarray(stars, dtype=int)-1
    below = np.cumsum(probs, 1)[rows, at]-probs[rows, at]
    pit = below + np.random.RandomState(seed).rand(len(at))*probs[rows, at]
    return {'inside': [float((np.abs(pit-.5) <= level/2).mean()) for level in levels],
            'nll': float(-np.log(probs[rows, at].clip(1e-12)).mean())}

def choose(row, fit, valid, n_trials, split):
    "The settings with the lowest error on `valid`, that error, the trials as (error, settings), and their CPU seconds"
    if 'tries' in row: known = named(row['tries'])(row['rung'], split)[:n_trials]
    else: known = [(None, 0, s) for s in trials(row, n_trials)]
    tried,spent = [],0
    for error,seconds,settings in known:
        if error is None:
            start = time.process_time()
            error = rmse(valid.rating, predict(row, fit, valid, **{**settings, **row.get('while_trying', {})})[0])
            seconds = time.process_time()-start
        tried.append((error, settings))
        spent += seconds
    best,settings = min(tried, key=lambda t: t[0]) if tried else (None, row['default'])
    return settings,best,tried,spent

def run(row, ratings, splits, n_trials, split=''):
    "Choose on the inner rows, freeze, fit on the whole training part, predict the test rows: (result, predictions)"
    for name in [*row['needs'], row['predict'].partition(':')[0]]:
        importlib.import_module(name)     # before the clock starts
    train,test,fit,valid = (ratings.iloc[splits[k]] for k in ('train', 'test', 'fit', 'valid'))
    settings,best,tried,spent = choose(row, fit, valid, n_trials, split)
    if split == 'quick': settings = {**settings, **row.get('while_trying', {})}
    start = time.process_time()
    preds,probs = predict(row, train, test, **settings)
    result = {'rmse': rmse(test.rating, preds), 'valid': best, 'settings': settings, 'trials': len(tried),
              'cpu': round(time.process_time()-start, 2), 'cpu_trials': round(spent, 2), 'mb': peak(), 'tried': tried}
    if probs is not None: result['coverage'] = coverage(probs, test.rating)
    if row.get('seeds') and not split.startswith('random'):
        again = [rmse(test.rating, predict(row, train, test, seed, **settings)[0]) for seed in range(1, row['seeds'])]
        result['seeds'] = [result['rmse'], *again]
    return result,preds

def whole(file, write):
    "`write` to another name, then rename: nobody reads half a file. Both names end alike, which numpy looks at"
    part = file.with_name(f'part-{os.getpid()}-{file.name}')
    try:
        write(part)
        os.replace(part, file)
    finally: part.unlink(missing_ok=True)

def read_frame(folder): return pd.read_csv(folder/'ratings.csv', dtype={'zip_code': str})

def slug(name): return re.sub(r'\W+', '-', name.replace('++', 'pp')).strip('-').lower()

def main(split, name, n_trials, folder):
    from rows import ROWS
    row = next(r for r in ROWS if r['name'] == name)
    folder,result = Path(folder),{'row': name, 'split': split, 'digest': digest(row)}
    try:
        for module in row['needs']: importlib.import_module(module)
    except ImportError as e:          # a peer that doesn't install here is missing; whatever else fails is a failure
        if row['group'] != 'peer': raise
        result['missing'] = str(e).replace("'", '')
    else:
        more,preds = run(row, read_frame(folder), np.load(folder/f'{split}.npz'), int(n_trials), split)
        result.update(more)
        whole(folder/'predictions'/f'{slug(name)}-{split}.npy', lambda f: np.save(f, preds))
    print('\n'+json.dumps(result))

if __name__ == '__main__': main(*sys.argv[1:])
