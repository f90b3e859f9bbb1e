"""Settings of chapter 12's models: 24 trials for each, on rows of the fold's own training part; no test row is read.

    .venv/bin/python tests/bench/choose_record.py            # all folds, about a quarter of an hour; resumes
    .venv/bin/python tests/bench/choose_record.py 1          # fold u1 alone

The trials go to collab_nb/record_trials.json, which chapter 12 and the bench read. The first trial is the library's
default, which an earlier prototype found with about sixty trials, and some two hundred more shaped, all on rows of u1's
training part; the others multiply each weight of the prior by 1/2 to 2 and draw epochs, learning rate and factors."""
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from collab_nb.data import fold_split,get_ml100k,read_movies,read_ratings,read_users
from collab_nb.further.sets import PRIOR,movie_tags,fit_predict,user_days,user_tags
from collab_nb.splits import inner_split

FILE = Path(__file__).parents[2]/'collab_nb'/'record_trials.json'
N = 24
ROWS = {'biased factors': ('rated', 'raters'), '+ what they rated': ('raters',),     # what each leaves out
        '+ who rated it': (), '+ tags': (), '+ day': ()}
SETTINGS = 'prior', 'epochs', 'lr', 'n_factors'

def two_digits(v): return float(f'{v:.2g}')

def tries(row):
    "N settings, the same for each fold: a default, and N-1 drawn"
    rng = np.random.default_rng(list(ROWS).index(row))
    res = [dict(prior=dict(PRIOR), epochs=30, lr=.03, n_factors=20)]
    for _ in range(N-1):
        prior = {k: two_digits(v*2**rng.uniform(-1, 1)) for k,v in PRIOR.items()}
        res.append(dict(prior=prior, epochs=int(rng.choice([20, 30, 40])), lr=float(rng.choice([.02, .03])),
                        n_factors=int(rng.choice([10, 20, 30]))))
    used = {'own', 'bias'} | {'rated', 'raters'}.difference(ROWS[row])
    if row in ('+ tags', '+ day'): used.add('tags')
    for r in res: r['prior'] = {k: v for k,v in r['prior'].items() if k in used}
    return res

def arguments(row, tags):
    "Of `fit_predict`, besides the settings"
    res = {k: False for k in ROWS[row]}
    if row in ('+ tags', '+ day'): res |= dict(user_tags=tags[0], item_tags=tags[1])
    if row == '+ day': res['session'] = 'day'
    return res

def current(r):
    "Whether a stored trial is still one of ours"
    return r['row'] in ROWS and tries(r['row'])[r['try']:r['try']+1] == [{k: r[k] for k in SETTINGS}]

def tried(train, valid, settings, more):
    "A trial: its error on `valid`, its CPU seconds, its settings"
    start = time.process_time()
    preds = fit_predict(train, valid, **settings, **more)
    rmse = math.sqrt(((preds-valid.rating.to_numpy())**2).mean())
    return {'rmse': round(rmse, 5), 'seconds': round(time.process_time()-start, 2), **settings}

def main(folds):
    torch.set_num_threads(1)
    path = get_ml100k()
    ratings = read_ratings(path)
    tags = user_tags(read_users(path)),movie_tags(read_movies(path))
    ratings['day'] = user_days(ratings)
    done = [r for r in json.loads(FILE.read_text()) if current(r)] if FILE.exists() else []
    have = {(r['fold'], r['row'], r['try']) for r in done}
    for fold in folds:
        train,valid = (ratings.iloc[s] for s in inner_split(fold_split(ratings, fold)))
        for row in ROWS:
            if fold > 1 and row in ('biased factors', '+ what they rated'): continue     # the chapter tries these on u1
            for k,settings in enumerate(tries(row)):
                if (fold, row, k) in have: continue
                done.append({'fold': fold, 'row': row, 'try': k} | tried(train, valid, settings, arguments(row, tags)))
            part = FILE.with_name(f'part-{os.getpid()}-{FILE.name}')
            part.write_text('[' + ',\n'.join(json.dumps(r) for r in done) + ']\n')
            os.replace(part, FILE)
            best = min((r for r in done if r['fold'] == fold and r['row'] == row), key=lambda r: r['rmse'])
            print(f'u{fold} {row:20}', best, flush=True)

if __name__ == '__main__': main([int(a) for a in sys.argv[1:]] or range(1, 6))
