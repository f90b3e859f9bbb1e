"""How a row of the bench is made: chosen inside the training part, frozen, one run on the test rows.

`python protocol.py SPLIT ROW TRIALS FOLDER` is one (row, split) in a process of its own. Its last line is the result as
JSON, its predictions go to FOLDER/predictions. It needs only numpy and pandas, so that it runs in the peers'
environment as well as in the course's."""
import hashlib
import importlib
import json
import os
import platform
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
    if 'task' in row: said['task'] = row['task']
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]

def rmse(stars, preds): return float(np.sqrt(np.mean((np.asarray(stars, 'float64')-preds)**2)))

def look(frame, kind, rating=True):
    "The columns that a row of this kind may see"
    return frame[['user', 'movie', *(['rating'] if rating else []), *COLUMNS[kind]]].reset_index(drop=True)

def named(what):
    "The function called `what`, as module:function"
    module,_,name = what.partition(':')
    return getattr(importlib.import_module(module), name)

def raw(row, train, test, seed=0, **settings):
    "Fit on `train`, predict `test`, whose ratings are withheld: numbers (n,) as they come, and probabilities if any"
    out = named(row['predict'])(look(train, row['kind']), look(test, row['kind'], rating=False), seed=seed, **settings)
    preds,probs = out if isinstance(out, tuple) else (out, None)
    preds = np.asarray(preds, dtype='float64')
    bad = np.isnan(preds) if row.get('task') == 'lists' else ~np.isfinite(preds)     # -inf: never in a list
    if preds.shape != (len(test),) or bad.any():
        raise ValueError(f"predictions must be {len(test)} finite numbers, got shape {preds.shape}")
    return preds,probs

def predict(row, train, test, seed=0, **settings):
    "As `raw`, with stars clipped to 1..5"
    preds,probs = raw(row, train, test, seed, **settings)
    return np.clip(preds, 1, 5),probs

# Lists: NDCG@10 over all movies of the training part, never over a sample

def all_pairs(train, users):
    "Each of `users` with each movie of `train`, and with what `train` says of both"
    movies = np.unique(train.movie)
    res = pd.DataFrame({'user': np.repeat(users, len(movies)), 'movie': np.tile(movies, len(users))})
    of = {'user': ['age', 'gender', 'occupation', 'zip_code'], 'movie': ['year', 'genres']}
    for by,columns in of.items():
        columns = [c for c in columns if c in train]
        if columns: res = res.merge(train.drop_duplicates(by)[[by, *columns]], on=by, how='left')
    return res

def ndcg(scores, train, test, users, k=10, seed=0):
    """NDCG@k of each user: `scores` (n_users, n_movies) over the sorted movies of `train`; what a user rated there is
    left out. Held-out movies that training never saw count as missed. Equal scores are sorted at random"""
    movies = np.unique(train.movie)
    at = lambda frame: (pd.Index(users).get_indexer(frame.user), pd.Index(movies).get_indexer(frame.movie))
    scores = scores.copy()
    who,what = at(train[train.user.isin(users)])
    scores[who, what] = -np.inf
    who,what = at(test)
    held = np.zeros(scores.shape, dtype=bool)
    held[who[what >= 0], what[what >= 0]] = True
    order = np.lexsort((np.random.RandomState(seed).rand(*scores.shape), -scores), axis=1)[:, :k]
    hits = np.take_along_axis(held & (scores > -np.inf), order, axis=1)
    discount = 1/np.log2(np.arange(k)+2)
    n = np.bincount(who, minlength=len(users)).clip(max=k)
    return (hits @ discount)/np.append(0, np.cumsum(discount))[n]

def lists(row, train, test, seed=0, **settings):
    "Fit on `train`: NDCG@10 of each user of `test`, and the predictions of its rows, from the same fit"
    users = np.unique(test.user[test.user.isin(train.user)])
    pairs = all_pairs(train, users)
    both = pd.concat([test, pairs], ignore_index=True)
    preds,_ = raw(row, train, both, seed, **settings)
    known = test[test.user.isin(users)]
    return ndcg(preds[len(test):].reshape(len(users), -1), train, known, users),preds[:len(test)]

def peak():
    "Most memory that this process held, in MB, as Linux has it (`ru_maxrss` would count the parent's); elsewhere None"
    status = Path('/proc/self/status')
    lines = status.read_text().splitlines() if status.exists() else []
    return next((round(int(line.split()[1])/1024) for line in lines if line.startswith('VmHWM')), None)

def cpu():
    "The processor's name"
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(':')[1].strip() for line in lines if line.startswith('model name')), '')
    return model or platform.processor() or platform.machine()

def coverage(probs, stars, levels=(.5, .8, .95), seed=0):
    """Share of the ratings inside central intervals of these nominal `levels` (by randomized PIT: a star is an interval
    of probability), and the loss -log p"""
    rows = np.arange(len(stars))
    at = np.asarray(stars, dtype=int)-1
    below = np.cumsum(probs, 1)[rows, at]-probs[rows, at]
    pit = below + np.random.RandomState(seed).rand(len(at))*probs[rows, at]
    return {'inside': [float((np.abs(pit-.5) <= level/2).mean()) for level in levels],
            'nll': float(-np.log(probs[rows, at].clip(1e-12)).mean())}

def at_edge(row, settings, tried):
    "Settings of the best trial that are the smallest or largest of those tried and have a next value: (name, value)"
    res = []
    for name,values in row.get('wider', {}).items():
        if name not in settings: continue
        had = {s[name] for s in tried if name in s}
        for edge,step in ((max(had), 1), (min(had), -1)):
            k = values.index(settings[name])+step
            if settings[name] == edge and 0 <= k < len(values): res.append((name, values[k]))
    return res

def choose(row, fit, valid, n_trials, split, known=None):
    """The settings with the lowest error on `valid` (for lists: minus NDCG@10), that error, the trials as
    (error, settings), and the CPU seconds of each. `known`: an earlier search, {'settings', 'valid'}; it goes on"""
    def error(settings):
        settings = {**settings, **row.get('while_trying', {})}
        if row.get('task') == 'lists': return -float(np.mean(lists(row, fit, valid, **settings)[0]))
        return rmse(valid.rating, predict(row, fit, valid, **settings)[0])
    if known: todo,space = [(None, 0, known['settings'])],trials(row, n_trials)
    elif 'tries' in row: todo,space = named(row['tries'])(row['rung'], split)[:n_trials],[]
    else: todo,space = [(None, 0, s) for s in trials(row, n_trials)],[]
    tried,spent = [],[]
    while todo:
        of,seconds,settings = todo.pop(0)
        if of is None:
            start = time.process_time()
            of = error(settings)
            seconds = time.process_time()-start
        tried.append((of, settings))
        spent.append(seconds)
        if known and len(tried) == 1 and abs(of-known['valid']) > 1e-4:
            raise ValueError(f"the best trial of the record must come out again as {known['valid']}, got {of}")
        if todo: continue
        best = min(tried, key=lambda t: t[0])[1]
        had = [s for _,s in tried]
        new = [{**best, name: v} for name,v in at_edge(row, best, had+space)]
        todo = [(None, 0, s) for s in new if s not in had][:1] if split != 'quick' else []
    best,settings = min(tried, key=lambda t: t[0]) if tried else (None, row['default'])
    return settings,best,tried,spent

def run(row, ratings, splits, n_trials, split='', known=None):
    """Choose on the inner rows, freeze, fit on the whole training part, predict the test rows: (result, predictions).
    `known`: what an earlier search on these rows came to; when more trials don't change it, only they are returned"""
    for name in [*row['needs'], row['predict'].partition(':')[0]]:
        importlib.import_module(name)     # before the clock starts
    train,test,fit,valid = (ratings.iloc[splits[k]] for k in ('train', 'test', 'fit', 'valid'))
    settings,best,tried,spent = choose(row, fit, valid, n_trials, split, known)
    more = {}
    if known:     # the first is the record's best trial once more: what it takes here is the yardstick for the others
        at = [s for _,s in tried].index(settings)
        more = {'more_trials': len(tried)-1, 'cpu_more': sum(spent[1:])/spent[0], 'cpu_best': spent[at]/spent[0]}
    spent = sum(spent)
    if known and settings == known['settings']: return more,None
    if split == 'quick': settings = {**settings, **row.get('while_trying', {})}
    start = time.process_time()
    if row.get('task') == 'lists': return listed(row, train, test, settings, best, tried, spent)
    preds,probs = predict(row, train, test, **settings)
    result = {'rmse': rmse(test.rating, preds), 'valid': best, 'settings': settings, 'trials': len(tried),
              'cpu': round(time.process_time()-start, 2), 'cpu_trials': round(spent, 2), 'mb': peak(), 'tried': tried,
              **more}
    if probs is not None: result['coverage'] = coverage(probs, test.rating)
    if row.get('seeds') and not split.startswith('random'):
        again = [rmse(test.rating, predict(row, train, test, seed, **settings)[0]) for seed in range(1, row['seeds'])]
        result['seeds'] = [result['rmse'], *again]
    return result,preds

def listed(row, train, test, settings, best=None, tried=(), spent=0):
    "NDCG@10 on the test rows with its standard error over users, and with the same fit the RMSE, if the row has one"
    start = time.process_time()
    of_users,preds = lists(row, train, test, **settings)
    error = of_users.std(ddof=1)/np.sqrt(len(of_users))
    res = {'ndcg': [float(of_users.mean()), float(error)], 'n_users': len(of_users), 'settings': settings,
           'cpu': round(time.process_time()-start, 2), 'mb': peak()}
    if row.get('task') == 'lists':
        return {**res, 'valid': best, 'trials': len(tried), 'cpu_trials': round(spent, 2), 'tried': list(tried)},preds
    preds = np.clip(preds, 1, 5)
    return {**res, 'rmse_again': rmse(test.rating, preds)},preds

def whole(file, write):
    "`write` to another name, then rename: nobody reads half a file. Both names end alike, which numpy looks at"
    part = file.with_name(f'part-{os.getpid()}-{file.name}')
    try:
        write(part)
        os.replace(part, file)
    finally: part.unlink(missing_ok=True)

def read_frame(folder): return pd.read_csv(folder/'ratings.csv', dtype={'zip_code': str})

def slug(name): return re.sub(r'\W+', '-', name.replace('++', 'pp')).strip('-').lower()

def main(split, name, n_trials, folder, known='null'):
    "`known`, as JSON: for the split 'lists' the settings to fit u1 with, for a fold an earlier search on it"
    from rows import ROWS
    known = json.loads(known)
    row = next(r for r in ROWS if r['name'] == name)
    folder,result = Path(folder),{'row': name, 'split': split, 'digest': digest(row)}
    try:
        for module in row['needs']: importlib.import_module(module)
    except ImportError as e:          # a peer that doesn't install here is missing; whatever else fails is a failure
        if row['group'] != 'peer': raise
        result['missing'] = str(e).replace("'", '')
    else:
        ratings,at = read_frame(folder),np.load(folder/f"{'u1' if split == 'lists' else split}.npz")
        if split == 'lists' and known:
            train,test = (ratings.iloc[at[k]] for k in ('train', 'test'))
            importlib.import_module(row['predict'].partition(':')[0])
            more,preds = listed(row, train, test, known['settings'])
        else: more,preds = run(row, ratings, at, int(n_trials), split, known)
        result.update(more)
        if preds is not None: whole(folder/'predictions'/f'{slug(name)}-{split}.npy', lambda f: np.save(f, preds))
    print('\n'+json.dumps(result))

if __name__ == '__main__': main(*sys.argv[1:])
