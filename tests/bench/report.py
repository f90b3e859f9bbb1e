"""What the runs add up to: collab_nb/record.json, the table that README quotes, and a chart. It runs in the course's
environment."""
import json
from pathlib import Path

import numpy as np

from collab_nb.further.sets import paired_gain
from protocol import COLUMNS,rmse,slug,whole

FOLDS  = [f'u{k}' for k in range(1, 6)]
RANDOM = [f'random{seed}' for seed in range(5)]
DIGITS = 8      # of what is stored; rounding it again to four must not change the fourth

def asked(rows):
    "Every (row, split) of the bench, split by split"
    return [(row, split) for split in FOLDS+RANDOM for row in rows if split in FOLDS or row.get('confirm')]

def lines(folder):
    "The text of runs.jsonl, without the half line that a killed driver may have left"
    file = Path(folder)/'runs.jsonl'
    text = file.read_text(encoding='utf-8') if file.exists() else ''
    return text[:text.rfind('\n')+1]

def read_runs(folder):
    "Finished runs by (row, split); what was missing once may be there now, so the last word counts"
    return {(r['row'], r['split']): r for r in map(json.loads, lines(folder).splitlines())}

def append(folder, res):
    "Add a result to runs.jsonl"
    text = lines(folder)+json.dumps(res)+'\n'
    whole(Path(folder)/'runs.jsonl', lambda f: f.write_text(text, encoding='utf-8'))

def used_rows(ratings, train, valid):
    """Rows of u1's training part on which settings or defaults were shaped: its inner rows, and those of an earlier
    prototype, which it drew from the rows by user and movie"""
    user,movie = (ratings[c].to_numpy() for c in ('user', 'movie'))
    order = np.lexsort((movie[train], user[train]))
    return np.union1d(valid, train[order][np.random.RandomState(7).permutation(len(train))[:len(valid)]])

def predictions(folder, runs, row, split, y):
    "What is stored for a finished run, None for another. Raises a `ValueError` when it isn't what the run scored"
    run = runs.get((row, split), {})
    if 'rmse' not in run: return None
    file = folder/'predictions'/f'{slug(row)}-{split}.npy'
    preds = np.load(file) if file.exists() else None
    if preds is None or preds.shape != y.shape or abs(rmse(y, preds)-run['rmse']) > 1e-9:
        raise ValueError(f'{file} is not what {row!r} predicted for {split}: its RMSE was {run["rmse"]}')
    return preds

def summary_of(row, runs):
    "One row of the record; what couldn't be run says why. What is said of the five folds is None until all are there"
    tried = {split: runs[row['name'], split] for split in FOLDS+RANDOM if (row['name'], split) in runs}
    done = {split: r for split,r in tried.items() if 'rmse' in r}
    res = {k: row[k] for k in ('name', 'kind', 'group')}
    if 'u1' not in done:
        return {**res, **{k: v for k,v in tried.get('u1', {}).items() if k in ('missing', 'failed')}}
    n_trials = {r['trials'] for r in done.values()}
    if len(n_trials) > 1: raise ValueError(f"{row['name']!r} had {sorted(n_trials)} trials, not the same everywhere")
    full = all(s in done for s in FOLDS)
    def pick(key): return [done[s][key] for s in FOLDS if done[s].get(key) is not None] if full else []
    def middle(key): return float(np.median(pick(key))) if pick(key) else None
    res |= {'trials': n_trials.pop(), 'rmse': {s: round(r['rmse'], DIGITS) for s,r in done.items()},
            'mean': round(float(np.mean(pick('rmse'))), DIGITS) if full else None, 'valid': pick('valid') or None,
            'cpu': middle('cpu'), 'cpu_trials': middle('cpu_trials'), 'mb': middle('mb'),
            'settings': {s: r['settings'] for s,r in done.items() if s in FOLDS}}
    seeds,coverage = pick('seeds'),pick('coverage')     # seeds: (folds, seeds)
    if seeds:
        res['seeds'] = {'u1': np.round(seeds[0], DIGITS).tolist(), 'mean': np.mean(seeds, 0).round(DIGITS).tolist()}
    if coverage:
        mean = {k: np.mean([c[k] for c in coverage], 0).round(4).tolist() for k in ('inside', 'nll')}
        res['coverage'] = {'nominal': [.5, .8, .95], **mean}
    return res

def summarize(folder, ratings, rows, pairs, published, about):
    """The record: a row for each model, paired gains on u1, over the five folds together and over the random splits,
    and what others published"""
    folder,runs = Path(folder),read_runs(folder)
    files = {s: np.load(folder/f'{s}.npz') for s in FOLDS+RANDOM if (folder/f'{s}.npz').exists()}
    at = {s: f['test'] for s,f in files.items()}
    users,y = ({s: ratings[c].to_numpy()[rows_] for s,rows_ in at.items()} for c in ('user', 'rating'))
    used = used_rows(ratings, files['u1']['train'], files['u1']['valid'])
    preds = {(row['name'], s): predictions(folder, runs, row['name'], s, y[s]) for row in rows for s in at}
    def together(of, splits): return np.concatenate([of[s] for s in splits])
    def said(row, splits):
        if any(preds.get((row, s)) is None for s in splits): return None
        return np.concatenate([preds[row, s] for s in splits])
    def gain(a, b, splits):
        a,b = said(a, splits),said(b, splits)
        if a is None or b is None: return None
        return [round(v, DIGITS) for v in paired_gain(together(y, splits), a, b, together(users, splits))]
    res = {**about, 'rows': [summary_of(row, runs) for row in rows], 'pairs': [], 'published': published}
    for row in res['rows']:
        if 'rmse' not in row: continue
        row['se_u1'] = round(paired_gain(y['u1'], preds[row['name'], 'u1'], y['u1'], users['u1'])[1], DIGITS)
        if row['mean'] is None: continue
        stars,p,free = together(y, FOLDS[1:]),said(row['name'], FOLDS[1:]),~np.isin(together(at, FOLDS[1:]), used)
        row['mean_unused'] = {'u2..u5': round(rmse(stars, p), DIGITS),
                              'without rows used for choosing': round(rmse(stars[free], p[free]), DIGITS),
                              'rows': int(free.sum())}
    res['pairs'] = [{'a': a, 'b': b, 'u1': gain(a, b, ['u1']), 'folds': gain(a, b, FOLDS), 'random': gain(a, b, RANDOM)}
                    for a,b in pairs]
    return res

SEES = {'ratings': 'ratings', 'side': '+ side', 'day': '+ side + day'}

def number(v, digits): return '' if v is None else f'{v:,.{digits}f}'

def trials_of(row):
    "Trials and their seconds; 'none' when a model has settings and comes with them"
    if not row['trials']: return '' if row['group'] == 'floor' else 'none'
    seconds = [] if row['cpu_trials'] is None else [number(row['cpu_trials'], 0)]
    return ', '.join([str(row['trials']), *seconds])

def line(row):
    "One line of README's table"
    name = f"**{row['name']}**" if row['group'] == 'ours' else row['name']
    if 'rmse' not in row:
        why = next((f'{k}: {row[k]}' for k in ('missing', 'failed') if k in row), 'not run')
        return f"| {name} | {SEES[row['kind']]} | {why.replace('|', '/')} | | | | | |"
    random = [row['rmse'][s] for s in RANDOM if s in row['rmse']]
    cells = [f"{number(row['rmse']['u1'], 4)} ± {number(row['se_u1'], 4)}", number(row['mean'], 4),
             number(np.mean(random), 4) if len(random) == len(RANDOM) else '',
             number(row['cpu'], 1), trials_of(row), number(row['mb'], 0)]
    return f"| {name} | {SEES[row['kind']]} | {' | '.join(cells)} |"

def table(record):
    "The table of README in markdown, from the record alone"
    heads = ('model', 'sees', 'u1 ± standard error', 'mean of u1 to u5', 'five random splits', 'CPU s, one fit',
             'trials, CPU s', 'MB')
    res = [f"| {' | '.join(heads)} |", '|'+' --- |'*len(heads)]
    for kind in COLUMNS:
        rows = [r for r in record['rows'] if r['kind'] == kind]
        res += map(line, sorted(rows, key=lambda r: -r['rmse']['u1'] if 'rmse' in r else -99))
    heads = ('published', 'sees', 'u1, as reported',
             'how its epoch and split were chosen, as far as paper or code show')
    res += ['', f"| {' | '.join(heads)} |", '|'+' --- |'*len(heads)]
    res += [f"| {p['name']} ({p['source']}) | {SEES[p['sees']]} | {p['rmse']:.3f} | {p['how']} |"
            for p in record['published']]
    return '\n'.join(res)

def gains(record):
    "The paired gains in markdown"
    said = lambda g: '' if g is None else f'{g[0]:+.4f} ± {g[1]:.4f}'
    res = ['| from | to | u1 | u1 to u5 | random splits |', '| --- | --- | --- | --- | --- |']
    res += [f"| {p['a']} | {p['b']} | {said(p['u1'])} | {said(p['folds'])} | {said(p['random'])} |"
            for p in record['pairs'] if p['u1']]
    return '\n'.join(res)

LOOKS = {'peer': ('tab:blue', 'o'), 'fastai': ('tab:gray', 's'), 'ours': ('tab:orange', 'D')}

def draw(record, path):
    """A dot for each model, error against the processor seconds of one fit; names in a column at the side,
    in the order of the errors"""
    from matplotlib.figure import Figure
    rows = [r for r in record['rows'] if r.get('cpu') is not None and r['group'] != 'floor']
    rows = sorted(rows, key=lambda r: r['rmse']['u1'])
    fig = Figure(figsize=(10, 6))
    ax = fig.add_axes((.08, .09, .54, .85))
    for group,(color,marker) in LOOKS.items():
        some = [r for r in rows if r['group'] == group]
        x,y = [r['cpu'] for r in some],[r['rmse']['u1'] for r in some]
        ax.scatter(x, y, c=color, marker=marker, label=group, zorder=3)
    for k,r in enumerate(rows):
        arrow = dict(arrowstyle='-', lw=.4, color=LOOKS[r['group']][0], alpha=.6, relpos=(0, .5), shrinkB=3)
        ax.annotate(f"{r['rmse']['u1']:.4f}  {r['name']}", (r['cpu'], r['rmse']['u1']), xytext=(1.06, (k+.5)/len(rows)),
                    textcoords='axes fraction', fontsize=8, va='center', annotation_clip=False, arrowprops=arrow)
    for p in record['published']: ax.axhline(p['rmse'], lw=.6, ls=':', c='k', zorder=0)
    ax.set(xlabel='CPU seconds, one fit', ylabel='RMSE on u1',
           title='Lower and further left is better (dotted: as published)')
    if rows:
        ticks = [1, 3, 10, 30, 100]
        ax.set_xscale('log')
        ax.set_xticks(ticks, ticks, minor=False)
        ax.set_xticks([], minor=True)
        ax.legend(loc='lower left', fontsize=8)
    whole(Path(path), lambda f: fig.savefig(f, dpi=150))
