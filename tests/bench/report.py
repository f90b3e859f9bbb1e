"What the runs add up to: collab_nb/record.json, the table that README quotes, and a chart."
import json
from pathlib import Path

import numpy as np

from protocol import COLUMNS,rmse,slug

FOLDS  = [f'u{k}' for k in range(1, 6)]
RANDOM = [f'random{seed}' for seed in range(5)]

def shares(y, preds, users):
    "What each user (code) contributes to the RMSE of `preds`, to first order: their sum of squares is its variance when users are drawn"
    squares,mse = (np.asarray(y, 'float64')-preds)**2,rmse(y, preds)**2
    return np.bincount(users, squares-mse)/len(squares)/(2*np.sqrt(mse))

def clustered(shares):
    n = (shares != 0).sum()
    return float(np.sqrt((shares**2).sum() * n/(n-1)))

def paired_gain(y, a, b, users):
    "How much lower RMSE(b) is than RMSE(a) on the same rows, and its standard error, clustered by user (delta method)"
    users = np.unique(users, return_inverse=True)[1]
    return rmse(y, a)-rmse(y, b),clustered(shares(y, a, users)-shares(y, b, users))

def read_runs(folder):
    "Finished runs by (row, split); what was missing once may be there now, so the last word counts"
    file = Path(folder)/'runs.jsonl'
    return {(r['row'], r['split']): r for r in map(json.loads, file.read_text().splitlines())} if file.exists() else {}

def test_rows(folder, ratings, split):
    "Users and ratings of a split's test rows"
    test = ratings.iloc[np.load(folder/f'{split}.npz')['test']]
    return test.user.to_numpy(),test.rating.to_numpy()

def predictions(folder, row, split):
    file = folder/'predictions'/f'{slug(row)}-{split}.npy'
    return np.load(file) if file.exists() else None

def summary_of(row, runs, u1):
    "One row of the record; what could not be run says why"
    tried = {split: runs[row['name'], split] for split in FOLDS+RANDOM if (row['name'], split) in runs}
    done = {split: r for split,r in tried.items() if 'missing' not in r}
    res = {k: row[k] for k in ('name', 'kind', 'group', 'trials')}
    if 'u1' not in done: return {**res, 'missing': tried['u1']['missing'] if 'u1' in tried else 'not run'}
    folds = [s for s in FOLDS if s in done]
    pick = lambda key, of=folds: [done[s][key] for s in of]
    res.update(rmse={s: round(done[s]['rmse'], 5) for s in done}, mean=round(np.mean(pick('rmse')), 5) if len(folds) == 5 else None, valid=pick('valid'),
               cpu=float(np.median(pick('cpu'))), cpu_trials=float(np.median(pick('cpu_trials'))), settings={s: done[s]['settings'] for s in folds})
    memory = [m for m in pick('mb') if m]
    res['mb'] = float(np.median(memory)) if memory else None
    if 'seeds' in done[folds[0]]:
        each = np.array([done[s]['seeds'] for s in folds])          # (splits, seeds)
        res['seeds'] = {'u1': each[0].round(5).tolist(), 'mean': each.mean(0).round(5).tolist()}
    if 'coverage' in done[folds[0]]:
        res['coverage'] = {'nominal': [.5, .8, .95], **{k: np.mean([done[s]['coverage'][k] for s in folds], 0).round(4).tolist() for k in ('inside', 'nll')}}
    if u1 is not None: res['se_u1'] = round(clustered(shares(u1[1], u1[2], np.unique(u1[0], return_inverse=True)[1])), 5)
    return res

def summarize(folder, ratings, rows, pairs, published, about):
    "The record: a row for each model, paired gains on u1 and over the five folds together, and what others published"
    folder,runs = Path(folder),read_runs(folder)
    tests = {s: test_rows(folder, ratings, s) for s in FOLDS+RANDOM if (folder/f'{s}.npz').exists()}
    def gain(a, b, splits):
        got = [(*tests[s], predictions(folder, a, s), predictions(folder, b, s)) for s in splits if s in tests]
        if len(got) < len(splits) or any(p is None for g in got for p in g): return None
        users,y,a,b = map(np.concatenate, zip(*got))
        return [round(v, 5) for v in paired_gain(y, a, b, users)]
    res = {**about, 'rows': [], 'pairs': [], 'published': published}
    for row in rows:
        preds = predictions(folder, row['name'], 'u1')
        res['rows'].append(summary_of(row, runs, None if preds is None else (*tests['u1'], preds)))
    for a,b in pairs: res['pairs'].append({'a': a, 'b': b, 'u1': gain(a, b, ['u1']), 'folds': gain(a, b, FOLDS), 'random': gain(a, b, RANDOM)})
    return res

SEES = {'ratings': 'ratings', 'side': '+ side', 'day': '+ side + day'}

def number(v, digits): return '' if v is None else f'{v:,.{digits}f}'

def table(record):
    "The table of README in markdown, from the record alone"
    lines = ['| model | sees | u1 | mean of u1 to u5 | five random splits | CPU s, one fit | trials, CPU s | MB |', '| --- | --- | --- | --- | --- | --- | --- | --- |']
    for kind in COLUMNS:
        rows = [r for r in record['rows'] if r['kind'] == kind]
        for r in sorted(rows, key=lambda r: -r['rmse']['u1'] if 'rmse' in r else -99):
            name = f"**{r['name']}**" if r['group'] == 'ours' else r['name']
            if 'missing' in r:
                lines.append(f"| {name} | {SEES[kind]} | missing: {r['missing'].split(':')[0]} | | | | | |")
                continue
            random = [r['rmse'][s] for s in RANDOM if s in r['rmse']]
            cells = [number(r['rmse']['u1'], 4), number(r['mean'], 4), number(np.mean(random), 4) if len(random) == 5 else '', number(r['cpu'], 1),
                     f"{r['trials']}, {number(r['cpu_trials'], 0)}" if r['trials'] else '', number(r['mb'], 0)]
            lines.append(f"| {name} | {SEES[kind]} | {' | '.join(cells)} |")
    lines += ['', '| published | sees | u1, as reported | how its epoch and split were chosen, as far as paper or code show |', '| --- | --- | --- | --- |']
    lines += [f"| {p['name']} ({p['source']}) | {SEES[p['sees']]} | {p['rmse']:.3f} | {p['how']} |" for p in record['published']]
    return '\n'.join(lines)

def gains(record):
    "The paired gains in markdown"
    said = lambda g: '' if g is None else f'{g[0]:+.4f} ± {g[1]:.4f}'
    return '\n'.join(['| from | to | u1 | u1 to u5 | random splits |', '| --- | --- | --- | --- | --- |',
                      *(f"| {p['a']} | {p['b']} | {said(p['u1'])} | {said(p['folds'])} | {said(p['random'])} |" for p in record['pairs'] if p['u1'])])

def draw(record, path):
    "A dot for each model, error against the processor seconds of one fit"
    from matplotlib.figure import Figure
    fig = Figure(figsize=(8, 5), layout='constrained')
    ax = fig.subplots()
    rows = [r for r in record['rows'] if 'rmse' in r and r['group'] != 'floor']
    for group,colour,marker in (('peer', 'tab:blue', 'o'), ('fastai', 'tab:gray', 's'), ('ours', 'tab:orange', 'D')):
        some = [r for r in rows if r['group'] == group]
        ax.scatter([r['cpu'] for r in some], [r['rmse']['u1'] for r in some], c=colour, marker=marker, label=group)
    for r in rows: ax.annotate(r['name'], (r['cpu'], r['rmse']['u1']), xytext=(4, 3), textcoords='offset points', fontsize=7)
    for p in record['published']: ax.axhline(p['rmse'], lw=.6, ls=':', c='k')
    ax.set(xscale='log', xlabel='CPU seconds, one fit', ylabel='RMSE on u1', title='Lower and further left is better (dotted: as published)')
    ax.legend()
    fig.savefig(path, dpi=150)
