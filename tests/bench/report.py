"""What the runs add up to: collab_nb/record.json and a chart. It runs in the course's environment; tables are made by
`collab_nb.record`."""
import json
from pathlib import Path

import numpy as np

from collab_nb.further.sets import paired_gain
from protocol import at_edge,digest,rmse,slug,trials,whole

FOLDS  = [f'u{k}' for k in range(1, 6)]
RANDOM = [f'random{seed}' for seed in range(5)]
DIGITS = 8      # of what is stored; rounding it again to four must not change the fourth

def asked(rows):
    "Every (row, split) of the bench, split by split; last the lists on u1, of each row that knows all it needs for one"
    stars = [r for r in rows if r.get('task') != 'lists']
    todo = [(row, split) for split in FOLDS+RANDOM for row in stars if split in FOLDS or row.get('confirm')]
    return todo+[(row, 'lists') for row in rows if row['kind'] != 'day' and row.get('ranks', True)]

def stored_runs(record, rows):
    """What a record says of rows that haven't changed since, as runs by (row, split). A fold whose best trial is at an
    edge of what was tried has `known`: the search goes on from there"""
    runs,of = {},{r['name']: r for r in (record or {}).get('rows', [])}
    for row in rows:
        old = of.get(row['name'], {})
        if old.get('digest') != digest(row): continue
        for split,error in old.get('rmse', {}).items():
            run = {'rmse': error, 'digest': old['digest'], 'stored': True, 'grown': split in old.get('grown', [])}
            if split in FOLDS:
                run['settings'] = old['settings'][split]
                valid = (old['valid'] or [None]*5)[FOLDS.index(split)]
                if valid is not None and split not in old.get('grown', []):
                    tried = [run['settings'], *trials(row, row['trials'])] if 'tries' not in row else []
                    if tried and at_edge(row, run['settings'], tried): run['known'] = {**run, 'valid': valid}
            runs[row['name'], split] = run
        if old.get('ndcg'): runs[row['name'], 'lists'] = {'ndcg': old['ndcg'], 'digest': old['digest'], 'stored': True}
    return runs

def all_runs(folder, record, rows):
    "What is stored and what has run since, by (row, split)"
    runs = stored_runs(record, rows)
    for key,run in read_runs(folder).items():
        if key in runs and not is_done(run): continue      # it went wrong this time
        if 'more_trials' in run and runs.get(key, {}).get('grown'): continue      # the record has counted them
        new = {**runs.get(key, {}), **run} if 'more_trials' in run else run
        runs[key] = {k: v for k,v in new.items() if k != 'known'}
    return runs

def is_done(run):
    "Is there a result, and nothing more to try?"
    return bool({'rmse', 'ndcg', 'more_trials'} & set(run)) and 'known' not in run

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
    kept = run.get('stored') and 'tried' not in run
    if kept and split == 'u1':     # fitted once more for its lists, with the same settings
        again = runs.get((row, 'lists'), {})
        if again.get('rmse_again') is None or abs(again['rmse_again']-run['rmse']) > 1e-6: return None
        split,run,kept = 'lists',{'rmse': again['rmse_again']},False
    if 'rmse' not in run or kept: return None
    file = folder/'predictions'/f'{slug(row)}-{split}.npy'
    preds = np.load(file) if file.exists() else None
    if preds is None or preds.shape != y.shape or abs(rmse(y, preds)-run['rmse']) > 1e-9:
        raise ValueError(f'{file} is not what {row!r} predicted for {split}: its RMSE was {run["rmse"]}')
    return preds

SAID = 'name', 'kind', 'group', 'ensemble', 'earlier', 'task'

def listed(res, runs):
    "A row with what its run on lists says, if there is one"
    run = runs.get((res['name'], 'lists'), {})
    if run.get('stored') or 'ndcg' not in run: return res
    res['ndcg'] = np.round(run['ndcg'], DIGITS).tolist()
    if res.get('task') == 'lists':
        res |= {k: run[k] for k in ('trials', 'cpu', 'cpu_trials', 'mb')}
        res |= {'settings': {'u1': run['settings']}, 'valid': run['valid']}
    return res

def is_kept(row, runs):
    "Does the record speak of this row's folds, and haven't they all been run anew?"
    return any(runs.get((row['name'], s), {}).get('stored') for s in FOLDS)

def new_folds(row, runs):
    "The folds for which a row has other predictions than those of the record"
    if not is_kept(row, runs): return FOLDS
    return [s for s in FOLDS if {'more_trials', 'tried'} <= set(runs.get((row['name'], s), {}))]

def grown(row, old, runs):
    """A stored row after more trials: its trials, and for folds where they found something better, error, settings and
    seconds: by how many times a trial takes longer than the record's best one did on the same machine"""
    res = {**old, 'rmse': {**old['rmse']}, 'settings': {**old['settings']}}
    if old['valid']: res['valid'] = list(old['valid'])
    cpu,spent = [old['cpu']]*len(FOLDS),[old['cpu_trials']]*len(FOLDS)
    most = old['trials']
    for k,split in enumerate(FOLDS):
        run = runs.get((row['name'], split), {})
        if 'more_trials' not in run: continue
        res['grown'] = sorted({*res.get('grown', []), split})
        most = max(most, old['trials']+run['more_trials'])
        one = old['cpu_trials']/old['trials']       # seconds of a trial, by the clock of the record's machine
        spent[k] += one*run['cpu_more']
        if 'tried' not in run: continue
        res['rmse'][split],res['settings'][split] = round(run['rmse'], DIGITS),run['settings']
        res['valid'][k],cpu[k] = run['valid'],old['cpu']*run['cpu_best']
    res |= {'trials': most, 'cpu': float(np.median(cpu)), 'cpu_trials': float(np.median(spent)),
            'mean': round(float(np.mean([res['rmse'][s] for s in FOLDS])), DIGITS)}
    return res

def summary_of(row, runs, old=None):
    """One row of the record; what couldn't be run says why. What is said of the five folds is None until all are there.
    `old`: the row as a record has it, when it hasn't changed since"""
    if old and is_kept(row, runs): return listed(grown(row, old, runs), runs)
    tried = {split: runs[row['name'], split] for split in FOLDS+RANDOM if (row['name'], split) in runs}
    done = {split: r for split,r in tried.items() if 'rmse' in r}
    res = {k: row[k] for k in SAID if k in row} | {'digest': digest(row)}
    if row.get('task') == 'lists':
        run = runs.get((row['name'], 'lists'), {})
        if run.get('stored'): return old
        return listed(res | {k: v for k,v in run.items() if k in ('missing', 'failed')}, runs)
    if 'u1' not in done:
        return {**res, **{k: v for k,v in tried.get('u1', {}).items() if k in ('missing', 'failed')}}
    n_trials = {r['trials'] for r in done.values()}
    if len(n_trials) > 1 and 'wider' not in row:
        raise ValueError(f"{row['name']!r} had {sorted(n_trials)} trials, not the same everywhere")
    full = all(s in done for s in FOLDS)
    def pick(key): return [done[s][key] for s in FOLDS if done[s].get(key) is not None] if full else []
    def middle(key): return float(np.median(pick(key))) if pick(key) else None
    res |= {'trials': max(n_trials), 'rmse': {s: round(r['rmse'], DIGITS) for s,r in done.items()},
            'mean': round(float(np.mean(pick('rmse'))), DIGITS) if full else None, 'valid': pick('valid') or None,
            'cpu': middle('cpu'), 'cpu_trials': middle('cpu_trials'), 'mb': middle('mb'),
            'settings': {s: r['settings'] for s,r in done.items() if s in FOLDS}}
    seeds,coverage = pick('seeds'),pick('coverage')     # seeds: (folds, seeds)
    if seeds:
        res['seeds'] = {'u1': np.round(seeds[0], DIGITS).tolist(), 'mean': np.mean(seeds, 0).round(DIGITS).tolist()}
    if coverage:
        mean = {k: np.mean([c[k] for c in coverage], 0).round(4).tolist() for k in ('inside', 'nll')}
        res['coverage'] = {'nominal': [.5, .8, .95], **mean}
    return listed(res, runs)

def summarize(folder, ratings, rows, pairs, published, about, record=None):
    """The record: a row for each model, paired gains on u1, over the five folds together and over the random splits,
    and what others published. What `record`, an earlier one, has of rows that haven't changed is kept"""
    folder,runs = Path(folder),all_runs(folder, record, rows)
    before = {r['name']: r for r in record['rows']} if record else {}
    gains_before = {(p['a'], p['b']): p for p in record['pairs']} if record else {}
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
    res = {**about, 'rows': [], 'pairs': [], 'published': published}
    new = {row['name']: new_folds(row, runs) for row in rows}
    for row in rows:
        old = before.get(row['name']) if before.get(row['name'], {}).get('digest') == digest(row) else None
        res['rows'].append(summary_of(row, runs, old))
    for row in res['rows']:
        if 'rmse' not in row: continue
        folds = new[row['name']]
        if 'u1' in folds:
            row['se_u1'] = round(paired_gain(y['u1'], preds[row['name'], 'u1'], y['u1'], users['u1'])[1], DIGITS)
        if folds != FOLDS or row['mean'] is None: continue
        stars,p,free = together(y, FOLDS[1:]),said(row['name'], FOLDS[1:]),~np.isin(together(at, FOLDS[1:]), used)
        row['mean_unused'] = {'u2..u5': round(rmse(stars, p), DIGITS),
                              'without rows used for choosing': round(rmse(stars[free], p[free]), DIGITS),
                              'rows': int(free.sum())}
    for a,b in pairs:
        pair = {'a': a, 'b': b}
        for key,splits in (('u1', ['u1']), ('folds', FOLDS), ('random', RANDOM)):
            pair[key] = gain(a, b, splits)
            changed = {*new.get(a, []), *new.get(b, [])} & {*splits}
            if pair[key] is None and not changed: pair[key] = gains_before.get((a, b), {}).get(key)
        res['pairs'].append(pair)
    return res

LOOKS = {'peer': ('tab:blue', 'o'), 'fastai': ('tab:gray', 's'), 'ours': ('tab:orange', 'D')}

def draw(record, path):
    """A dot for each model, error against the processor seconds of one fit; names in a column at the side,
    in the order of the errors"""
    from matplotlib.figure import Figure
    rows = [r for r in record['rows'] if r.get('cpu') is not None and 'rmse' in r and r['group'] != 'floor']
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
