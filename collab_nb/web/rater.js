// The page to rate movies on: what's on the screen. The models are fold.js's, which comes first in the same script.
// A movie is its position in the catalog throughout. Titles are data from strangers: they're only ever text.

const data = JSON.parse(document.getElementById('data').textContent);
const models = data.models.map(openModel);
const {ids, titles, years, genres, counts} = data.items;
const [lowest, highest, step] = data.scale;
const lister = models[data.lists];
const critic = data.stars === null ? null : models[data.stars];
const storeKey = `collab_nb:${data.stamp}`;
const steps = Array.from({length: Math.round((highest - lowest)/step) + 1}, (_, k) => +(lowest + k*step).toFixed(6));
const halves = step === .5 && lowest > 0;
const everything = titles.map((_, i) => i);
const byCount = [...everything].sort((a, b) => counts[b] - counts[a]);
const positions = new Map(ids.map((id, i) => [String(id), i]));
const LENGTH = 10;      // of the list
const LARGEST = 5e6;    // bytes of a file to import

// ---- Small things

const part = name => document.querySelector(`[data-part="${name}"]`);
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const button = (text, act, attributes = {}) => make('button', {type: 'button', 'data-act': act, ...attributes}, text);
const write = (name, text) => { if (part(name).textContent !== text) part(name).textContent = text; };
const show = (name, on) => { part(name).hidden = !on; };
const and = words => new Intl.ListFormat('en').format(words);
const plural = (n, word) => `${n.toLocaleString('en')} ${word}${n === 1 ? '' : 's'}`;
const clip = (value, low, high) => Math.min(high, Math.max(low, value));
const capital = text => text.charAt(0).toUpperCase() + text.slice(1);

let speaking;
const say = (text, seen = false) => {     // to a screen reader, and on the screen if `seen`
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    write('say', text);
    part('say').classList.toggle('toast', seen);
    if (seen) speaking = setTimeout(() => part('say').classList.remove('toast'), 5000);
  }, seen ? 0 : 400);
};

// ---- Titles, and how they're found

const spelled = {ø: 'o', æ: 'ae', œ: 'oe', ß: 'ss', ł: 'l', đ: 'd', '&': ' and '};
const plainText = text => text.normalize('NFD').replace(/[\p{M}'’`.*]/gu, '').toLowerCase()
  .replace(/[øæœßłđ&]/g, letter => spelled[letter]).replace(/[^\p{L}\p{N}]+/gu, ' ').trim();
const splitYear = title => {
  const found = /^(.*\S)\s*\((\d{4})\)\s*$/s.exec(title);
  return found ? [found[1], Number(found[2])] : [title, null];
};
// "Matrix, The" is "The Matrix"; what follows in parentheses stays behind
const behind = /^(.+?), (the|a|an|le|la|les|l'|un|une|il|lo|gli|el|los|las|der|die|das|den|det|o|os)(?= \(|$)(.*)$/i;
const inFront = name => name.replace(behind, (_, rest, article, tail) =>
  `${article}${article.endsWith("'") ? '' : ' '}${rest}${tail}`);
const noArticle = text => text.replace(/^(the|a|an|le|la|les|un|une|il|lo|gli|el|los|las|der|das|den|det) (?=.)/, '');

const names = titles.map((title, i) => {
  const [name, year] = splitYear(title);
  return inFront(year !== null && (years[i] === null || years[i] === year) ? name : title) || `(${ids[i]})`;
});
const released = titles.map((title, i) => years[i] ?? splitYear(title)[1]);
const yearOf = i => released[i];
const full = i => `${names[i]}${yearOf(i) === null ? '' : ` (${yearOf(i)})`}`;
const plain = names.map(plainText);
const bare = plain.map(noArticle);
const searchable = plain.map((text, i) => ` ${text} ${yearOf(i) ?? ''}`);
// "star wars" also by "starwars": from any word on, without the spaces
const runsOn = (i, text) => searchable[i].split(' ').some((_, k, words) => words.slice(k).join('').startsWith(text));
// How many letters have to be put in, left out or changed so that a word starts like another (Levenshtein, 1966)
const slips = (word, other) => {
  let row = Array.from({length: other.length + 1}, (_, k) => k);
  for (const [n, letter] of [...word].entries()) {
    const next = [n + 1];
    for (let k = 0; k < other.length; k++) {
      next.push(Math.min(row[k] + (letter === other[k] ? 0 : 1), row[k+1] + 1, next[k] + 1));
    }
    row = next;
  }
  return Math.min(...row);
};
const allows = word => word.length > 7 ? 2 : word.length > 3 ? 1 : 0;
let words = null;                   // each word of a title, and the movies that have it
const misspelled = wanted => {
  if (!words) {
    words = new Map();
    for (const i of everything) for (const word of new Set(plain[i].split(' '))) {
      if (!words.has(word)) words.set(word, []);
      words.get(word).push(i);
    }
  }
  const having = wanted.map(one => new Set([...words].filter(([word]) =>
    Math.abs(word.length - one.length) < 5 && slips(one, word) <= allows(one)).flatMap(([, some]) => some)));
  return [...having[0]].filter(i => having.every(some => some.has(i)));
};

// Movies with words that start like the words of a query, the closest titles first
const search = query => {
  const all = plainText(query), wanted = all.split(' ').filter(Boolean);
  if (!wanted.length) return [];
  const having = some => everything.filter(i => some.every(word => searchable[i].includes(` ${word}`)));
  let hits = having(wanted);
  if (!hits.length && noArticle(all) !== all) hits = having(wanted.slice(1));
  if (!hits.length) hits = everything.filter(i => runsOn(i, wanted.join('')));
  if (!hits.length && all.length <= 80) hits = misspelled(wanted);
  const short = noArticle(all);
  const grade = new Map(hits.map(i => [i, bare[i] === short ? 0 : bare[i].startsWith(short) ? 1 : 2]));
  return hits.sort((a, b) => grade.get(a) - grade.get(b) || counts[b] - counts[a]);
};

// ---- The state: who gave what, and all that can be taken back

const nobody = ['Me', 'Friend'];
const blank = () => ({
  ratings: [new Map(), new Map()], hidden: [new Map(), new Map()], watch: [new Map()],
  names: [...nobody], without: [], decade: '', popular: 0, who: 0});
let state = blank();
const done = [];                    // each change with what undoes it
const cache = [new Map(), new Map()];
const raters = () => state.who === 2 ? [0, 1] : [state.who];
const ratingOf = (p, i) => state.ratings[p].get(i);

const apply = changes => {
  for (const [kind, p, i, value] of changes) {
    if (value === undefined) state[kind][p].delete(i);
    else state[kind][p].set(i, value);
    if (kind === 'ratings') cache[p].clear();
  }
};
// Make changes [kind, person, position, new value], and remember how to take them back
const change = (label, changes, also = {}) => {
  const before = Object.fromEntries(Object.keys(also).map(name => [name, state[name]]));
  const back = changes.map(([kind, p, i]) => [kind, p, i, state[kind][p].get(i)]);
  done.push({label, who: state.who, before, changes: back});
  if (done.length > 200) done.shift();
  apply(changes);
  Object.assign(state, also);
  save();
  render({marks: true});
};
const undo = () => {
  const last = done.pop();
  if (!last) return;
  apply(last.changes);
  Object.assign(state, {who: last.who}, last.before);
  save();
  render({marks: true});
  say(`Undone: ${last.label}.`, true);
};

const rate = (position, value, p = state.who % 2) => {
  if (value !== null && !steps.includes(value)) throw new RangeError(`a rating must be one of ${steps}, got ${value}`);
  const label = value === null ? `taking back the rating of ${names[position]}` : `rating ${names[position]}`;
  change(label, [['ratings', p, position, value ?? undefined]]);
};
const hide = i => change(`leaving out ${names[i]}`, raters().map(p => ['hidden', p, i, 1]));
const unhide = i => change(`listing ${names[i]} again`, raters().map(p => ['hidden', p, i, undefined]));
const watch = i => {
  const on = state.watch[0].has(i);
  change(`${on ? 'taking off' : 'putting on'} the watchlist, ${names[i]}`, [['watch', 0, i, on ? undefined : 1]]);
  say(on ? 'Taken off your watchlist.' : 'On your watchlist.');
};
const deleteEverything = () => {
  const gone = ['ratings', 'hidden', 'watch'].flatMap(kind =>
    state[kind].flatMap((map, p) => [...map.keys()].map(i => [kind, p, i, undefined])));
  const {names: called, without, decade, popular} = blank();
  change('deleting everything', gone, {names: called, without, decade, popular});
  say('Everything is deleted. Undo brings it back until you close the page.', true);
};

// ---- Kept in the browser

const notice = text => { write('notice', text); show('notice', Boolean(text)); };
const packed = () => JSON.stringify({
  version: 1, names: state.names, without: state.without, decade: state.decade, popular: state.popular,
  ratings: state.ratings.map(map => [...map].map(([i, v]) => [ids[i], v])),
  hidden: state.hidden.map(map => [...map.keys()].map(i => ids[i])),
  watch: state.watch.map(map => [...map.keys()].map(i => ids[i]))});
const unused = packed();            // nothing is kept where there's nothing to keep
const blocked = () => notice(
  "This browser doesn't let the page keep anything, so your ratings are gone when you close it. Export them first.");
const save = () => {
  const text = packed();
  try {
    if (text === unused) localStorage.removeItem(storeKey);
    else localStorage.setItem(storeKey, text);
  } catch { blocked(); }
};
// The state that a text holds; throws if it holds none
const unpacked = text => {
  const must = ok => { if (!ok) throw new TypeError('not a saved state'); };
  const saved = JSON.parse(text);
  must(saved?.version === 1);
  const at = id => { must(positions.has(String(id))); return positions.get(String(id)); };
  const two = list => { must(Array.isArray(list) && list.length === 2); return list; };
  const map = (list, read) => { must(Array.isArray(list)); return new Map(list.map(read)); };
  must(two(saved.names).every(name => typeof name === 'string' && [...name].length <= 30));
  must(Array.isArray(saved.without) && saved.without.every(name => typeof name === 'string'));
  must(typeof saved.decade === 'string' && saved.popular >= 0 && saved.popular <= 1);
  return {
    who: 0, names: saved.names.map((name, p) => name.trim() || nobody[p]), popular: Number(saved.popular),
    without: saved.without.filter(name => data.genre_names.includes(name)), decade: saved.decade,
    ratings: two(saved.ratings).map(list => map(list, ([id, v]) => { must(steps.includes(v)); return [at(id), v]; })),
    hidden: two(saved.hidden).map(list => map(list, id => [at(id), 1])),
    watch: [map(saved.watch?.[0], id => [at(id), 1])]};
};
const restore = () => {
  let text = null;
  try { text = localStorage.getItem(storeKey); } catch { blocked(); }
  try { if (text !== null) state = unpacked(text); } catch {
    notice("What this page had saved in your browser can't be read, so it starts empty.");
  }
};
addEventListener('storage', event => {
  if (event.key !== storeKey && event.key !== null) return;
  try {
    const other = event.newValue ? unpacked(event.newValue) : blank();
    for (const name of ['ratings', 'hidden', 'watch', 'names']) state[name] = other[name];
    cache.forEach(one => one.clear());
    render();
  } catch { /* another tab's business: this one keeps what it has */ }
});

// ---- What the models say

// A person as a model sees them, with the score of every movie; null without a rating that the model can use
const opinion = (model, p) => {
  if (!cache[p].has(model)) {
    const pairs = [...state.ratings[p]].filter(([i, v]) => model.knows(i) && (model.needsStars || v >= data.mean))
      .map(([i, v]) => [i, model.needsStars ? v : 1]);
    const person = pairs.length ? model.fold(pairs) : null;
    cache[p].set(model, person && {person, scores: model.rank(person), n: pairs.length});
  }
  return cache[p].get(model);
};
const fresh = i => raters().every(p => !state.ratings[p].has(i) && !state.hidden[p].has(i));
const decadeOf = i => yearOf(i) === null ? null : Math.floor(yearOf(i)/10)*10;
const fits = i => !(state.decade && decadeOf(i) !== Number(state.decade)) && fresh(i)
  && !genres[i].some(g => state.without.includes(data.genre_names[g]));
const list = () => {
  const seen = raters().map(p => opinion(lister, p)).filter(Boolean);
  let scores = seen.length === 2 ? together(seen[0].scores, seen[1].scores) : seen[0]?.scores ?? counts;
  if (seen.length && state.popular) scores = towardPopular(scores, counts, state.popular);
  return topK(Float64Array.from(scores, (z, i) => fits(i) ? z : -Infinity), LENGTH);
};
const predicted = (p, i) => {
  const mine = critic?.knows(i) && opinion(critic, p);
  return mine ? clip(critic.show(mine.person, mine.scores[i]), lowest, highest) : null;
};
// Whoever rates is "you"; of two people, the one who's still called Me
const you = p => state.who !== 2 || state.names[p] === nobody[0];
const owner = () => state.names[state.who] === nobody[0] ? 'Your' : `${state.names[state.who]}'s`;
const subject = p => you(p) ? 'you' : state.names[p] === nobody[1] ? 'your friend' : state.names[p];

// "Because you gave Fargo 5 and Aliens 4"
const because = (i, p) => {
  const mine = opinion(lister, p);
  if (!mine || state.popular === 1) return '';
  const reasons = lister.explain(mine.person, i).filter(reason => reason[1]);
  const verb = `${subject(p)} ${lister.needsStars ? 'gave' : 'liked'}`;
  const worth = j => lister.needsStars ? ` ${ratingOf(p, j)}` : '';
  const pro = reasons.filter(reason => reason[1] > 0).slice(0, 2), [con] = reasons[0]?.[1] < 0 ? reasons[0] : [];
  const found = con === undefined ? [] : [`in spite of ${names[con]}, which ${verb}${worth(con)}`];
  if (pro.length) found.push(`because ${verb} ${and(pro.map(([j]) => names[j] + worth(j)))}`);
  return capital(found.join(', and '));
};
const guess = i => {
  const known = raters().map(p => [p, predicted(p, i)]).filter(([, value]) => value !== null);
  if (state.who !== 2) return known.map(([, value]) => `You'd give it about ${value.toFixed(1)}. `).join('');
  return known.length ? `About ${and(known.map(([p, value]) => `${value.toFixed(1)} for ${subject(p)}`))}. ` : '';
};

// ---- Rows: a tile, a title, and stars

const hue = g => (g*137 + 205) % 360;
const initials = text => {
  const all = text.split(' '), telling = all.filter(word => !/^(of|the|a|an|and|in|on|to|for|with|from)$/.test(word));
  return (telling.length ? telling : all).slice(0, 2);
};
const tile = i => {
  const [first, second = first] = genres[i].map(g => `hsl(${hue(g)} 38% 31%)`);
  const node = make('span', {class: 'tile', 'aria-hidden': 'true'},
    initials(bare[i] || '?').map(word => [...word][0]?.toUpperCase() ?? '').join(''));
  if (first) node.style.background = `linear-gradient(135deg, ${first} 62%, ${second} 62%)`;
  return node;
};
const facts = i => [yearOf(i), genres[i].slice(0, 3).map(g => data.genre_names[g]).join(', ')]
  .filter(Boolean).join(' · ');
const starText = value => `${value} ${halves || lowest > 0 ? value === 1 ? 'star' : 'stars' : 'points'}`;

let groups = 0;
const starGroup = (i, p) => {
  const name = `stars-${groups++}`;
  const legend = make('legend', {class: state.who === 2 ? 'person' : 'unseen'});
  legend.append(...state.who === 2 ? [state.names[p], make('span', {class: 'unseen'}, `: rating of ${names[i]}`)]
    : [`Rating of ${names[i]}`]);
  const kind = steps.length > 6 && !halves ? 'stars many' : 'stars';
  const group = make('fieldset', {class: kind, 'data-rate': i, 'data-person': p}, legend);
  for (const [k, value] of steps.entries()) {
    const half = !halves || (k === 0 && value % 1 === 0) ? '' : value % 1 ? ' left' : ' right';
    group.append(make('label', {class: `star${half}`, title: starText(value)},
      make('input', {type: 'radio', name, value, 'aria-label': starText(value)}), make('span', {class: 'shape'})));
  }
  group.append(button('Clear', 'clear', {class: 'quiet clear', 'aria-label': `Clear the rating of ${names[i]}`}));
  return group;
};
const showStars = group => {
  const value = ratingOf(Number(group.dataset.person), Number(group.dataset.rate));
  for (const input of group.querySelectorAll('input')) input.checked = Number(input.value) === value;
  group.querySelector('.clear').hidden = value === undefined;
};
const movie = (i, ...more) => make('li', {'data-position': i}, tile(i),
  make('div', {class: 'what'}, make('strong', {}, names[i]), make('span', {class: 'facts'}, facts(i))), ...more);
const row = (i, ...more) => movie(i, make('div', {class: 'rating'}, ...raters().map(p => starGroup(i, p))), ...more);

// Put rows into a list, keeping those that are there, so that nothing flickers and focus stays
const fill = (name, shown, build = row) => {
  const box = part(name), stamp = `${state.who}:${state.names}:`;
  const kept = new Map([...box.children].map(node => [node.dataset.key, node]));
  const wanted = shown.map(i => {
    const node = kept.get(stamp + i) ?? build(i);
    node.dataset.key = stamp + i;
    return node;
  });
  for (const node of [...box.children]) if (!wanted.includes(node)) node.remove();
  wanted.forEach((node, k) => { if (box.children[k] !== node) box.insertBefore(node, box.children[k] ?? null); });
  box.querySelectorAll('.stars').forEach(showStars);
};

// ---- Rate: search and suggestions

const seenBefore = new Set();       // suggestions of earlier rounds
let suggestions = [], query = '', rated = 30;
const suggest = () => {
  const pick = () => byCount.filter(i => fresh(i) && lister.knows(i) && !seenBefore.has(i)).slice(0, 40);
  let pool = pick();
  if (pool.length < 6) { seenBefore.clear(); pool = pick(); }
  suggestions = [];
  const used = new Map();
  const cost = (i, k) => k + 6*genres[i].reduce((sum, g) => sum + (used.get(g) ?? 0), 0)/Math.max(1, genres[i].length);
  while (suggestions.length < 6 && pool.length) {       // well known, and of kinds that aren't there yet
    const best = pool.reduce((a, i, k) => cost(i, k) < a[1] ? [i, cost(i, k)] : a, [-1, Infinity])[0];
    pool = pool.filter(i => i !== best);
    suggestions.push(best);
    seenBefore.add(best);
    for (const g of genres[best]) used.set(g, (used.get(g) ?? 0) + 1);
  }
};
const showFound = () => {
  const hits = query.trim() ? search(query) : null, first = hits?.length > 8 ? 'The first 8 of ' : '';
  show('others', !hits);
  write('found-note', !hits ? 'Well-known movies to start with:' : hits.length ? `${first}${plural(hits.length, 'movie')}:`
    : `No movie here matches “${query.trim()}”.`);
  if (!hits && !suggestions.length) suggest();
  fill('found', hits ? hits.slice(0, 8) : suggestions);
};

// ---- The list

let listed = null;                  // what was on it before, to mark what moved
const listRow = i => row(i,
  make('p', {class: 'why'}, make('span', {class: 'guess'}), make('span', {class: 'reason'})),
  make('div', {class: 'buttons'},
    button('Watchlist', 'watch', {class: 'quiet', 'aria-label': `Watchlist: ${names[i]}`}),
    button(state.who === 2 ? 'Not for us' : 'Not for me', 'hide',
      {class: 'quiet', 'aria-label': `${state.who === 2 ? 'Not for us' : 'Not for me'}: ${names[i]}`}),
    make('span', {class: 'moved'})));
const mean = data.mean.toFixed(1);
// Two models, two answers: what to watch, and what you'd give it
const apart = critic && critic !== lister
  ? " The order is what you'd go for next. The stars are another model's guess, so the two can differ." : '';
const basis = () => {
  const [who] = raters(), have = [0, 1].map(p => Boolean(opinion(lister, p)));
  if (state.who === 2) {
    if (have.every(Boolean)) return "Both people's scores are put on one scale, and the lower of the two counts, so "
      + `nobody has to sit through something they'd hate.${apart}`;
    if (have.some(Boolean)) return `So far this list suits only ${subject(have.indexOf(true))}: the other one hasn't `
      + 'rated enough.';
  } else if (have[who]) {
    const from = `Made from ${plural(opinion(lister, who).n, lister.needsStars ? 'rating' : 'movie')}`
      + (lister.needsStars ? '.' : ` that got ${steps.find(v => v >= data.mean) ?? highest} or more.`);
    return state.popular === 1 ? 'The movies that most people rated: the dial is at Popular.' : from + apart;
  }
  if (raters().some(p => state.ratings[p].size)) return lister.needsStars
    ? "The model doesn't know any movie you've rated, so these are the movies that most people rated."
    : `No rating is above average (${mean}) yet, so these are the movies that most people rated. Add one you love.`;
  return 'The movies that most people rated. Rate one, and the list changes.';
};
const showReasons = () => {
  for (const node of part('list').children) {
    const i = Number(node.dataset.position);
    const reasons = raters().map(p => because(i, p)).filter(Boolean);
    node.querySelector('.reason').textContent = reasons.map(text => `${text}.`).join(' ');
  }
};
let reasonsLater;
const showList = marks => {
  const shown = list(), before = listed;
  fill('list', shown, listRow);
  shown.forEach((i, k) => {
    const node = part('list').children[k], kept = state.watch[0].has(i);
    const was = before?.indexOf(i) ?? k;
    const moved = !marks || !before ? '' : was < 0 ? 'new here' : was > k ? `up ${was - k}` : '';
    node.querySelector('.moved').textContent = moved;
    node.classList.toggle('came', Boolean(moved));
    const keep = node.querySelector('[data-act="watch"]');
    keep.setAttribute('aria-pressed', kept);
    keep.textContent = kept ? 'On watchlist' : 'Watchlist';
    node.querySelector('.guess').textContent = guess(i);
  });
  // with many ratings the reasons take longer than the list
  clearTimeout(reasonsLater);
  if (raters().some(p => (opinion(lister, p)?.n ?? 0) > 40)) reasonsLater = setTimeout(showReasons, 30);
  else showReasons();
  const more = before ? shown.filter(i => !before.includes(i)).length : 0;
  if (before && !shown.length && before.length) say('No movie is left on your list.');
  else if (before && shown.length && shown[0] !== before[0]) say(`First on your list now: ${names[shown[0]]}.`);
  else if (more) say(`${plural(more, 'new movie')} on your list.`);
  listed = shown;
  const title = state.who === 2 ? 'A list for both of you' : `${owner()} list`;
  const filtered = state.without.length + Boolean(state.decade);
  write('list-title', title);
  write('basis', basis());
  write('filters-on', filtered ? `${filtered} on` : '');
  show('few', shown.length < LENGTH);
  write('few', shown.length ? `Only ${plural(shown.length, 'movie')} left.` : 'No movie is left for this list.');
  show('nofilter', filtered > 0);
  write('first', shown.length ? `${title}: 1. ${names[shown[0]]}` : title);
};

// ---- Your ratings, the watchlist, what's hidden

const smallRow = (act, text) => i =>
  movie(i, button(text, act, {class: 'quiet', 'aria-label': `${text}: ${names[i]}`}));
const showShelves = () => {
  const mine = [...new Set(raters().flatMap(p => [...state.ratings[p].keys()]))].reverse();
  const gone = [...new Set(raters().flatMap(p => [...state.hidden[p].keys()]))].reverse();
  const kept = [...state.watch[0].keys()].reverse();
  fill('rated', mine.slice(0, rated));
  fill('hidden', gone, smallRow('unhide', 'Put back'));
  fill('watch', kept, smallRow('watch', 'Remove'));
  write('rated-count', mine.length ? mine.length.toLocaleString('en') : '');
  write('watch-count', kept.length ? kept.length.toLocaleString('en') : '');
  write('rated-note', mine.length ? 'Newest first.' : 'Nothing yet. Rate a movie above.');
  write('ratings-title', state.who === 2 ? "Both people's ratings" : `${owner()} ratings`);
  show('more', mine.length > rated);
  show('hidden-box', gone.length > 0);
  show('watch-note', !kept.length);
  show('export-watch', kept.length > 0);
};

// ---- What would I give ...?

let asked = null;
const scale = (i, p) => {       // the reasons for and against, as bars
  const mine = opinion(critic, p);
  const reasons = critic.explain(mine.person, i).filter(([, speaks]) => Math.abs(speaks) >= .005);
  const most = Math.max(...reasons.map(reason => Math.abs(reason[1])));
  return [['Pulls it up', 1], ['Pulls it down', -1]]
    .map(([title, way]) => [title, reasons.filter(reason => reason[1]*way > 0)])
    .map(([title, some], k) => make('div', {class: `side ${k ? 'against' : 'for'}`}, make('h3', {}, title),
      some.length ? make('ul', {}, ...some.slice(0, 4).map(([j, speaks]) => {
        const bar = make('span', {class: 'bar-of', 'aria-hidden': 'true'});
        bar.style.width = `${Math.max(3, 100*Math.abs(speaks)/most)}%`;
        const amount = `${speaks > 0 ? '+' : '−'}${Math.abs(speaks).toFixed(2)}`;
        return make('li', {}, make('span', {class: 'line'}, `${names[j]}, ${ratingOf(p, j)} `,
          make('span', {class: 'amount'}, amount)), bar);
      })) : make('p', {class: 'hint'}, 'Nothing you rated.')));
};
const answer = p => {
  const stars = predicted(p, asked);
  const words = you(p) ? "You'd" : `${capital(subject(p))} would`, given = ratingOf(p, asked);
  if (stars === null) return make('p', {class: 'hint'}, !critic.knows(asked) ? "The model doesn't know this movie."
    : `${capital(subject(p))} ${you(p) ? 'have' : 'has'} to rate something first.`);
  return make('div', {}, make('p', {class: 'result'}, `${words} give it about `, make('b', {}, stars.toFixed(1)),
    given === undefined ? '' : make('span', {class: 'facts'}, `, counting the ${given} already given`)),
    make('p', {class: 'hint'}, 'The numbers say how far the guess would move if you took that rating back.'),
    make('div', {class: 'sides'}, ...scale(asked, p)));
};
const showAnswer = () => {
  if (!critic || asked === null) return;
  const box = part('answer');
  if (box.dataset.key !== `${state.who}:${state.names}:${asked}`) {
    box.replaceChildren(make('ul', {class: 'rows', 'data-rows': ''}, row(asked)), make('div', {class: 'answers'}));
    box.dataset.key = `${state.who}:${state.names}:${asked}`;
  }
  box.querySelectorAll('.stars').forEach(showStars);
  box.querySelector('.answers').replaceChildren(...raters().map(answer));
};
const ask = text => {
  const hits = search(text).slice(0, 6);
  part('asked').replaceChildren(...hits.map(i =>
    make('li', {}, button(full(i), 'ask', {'data-position': i, class: 'quiet'}))));
  write('asked-note', hits.length || !text.trim() ? '' : `No movie here matches “${text.trim()}”.`);
};

// ---- The map

const WIDTH = 720;
const known = data.map ? byCount.filter(i => data.map[i]).slice(0, 150) : [];
let spots = new Map(), height = 440, chosen = null, near = null;
const shape = (tag, attributes, text = '') => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
};
const place = all => {
  const edge = k => [Math.min, Math.max].map(f => all.reduce((v, i) => f(v, data.map[i][k]), f === Math.min ? 9 : -9));
  const [[left, right], [low, high]] = [edge(0), edge(1)];
  spots = new Map(all.map(i => [i, [20 + (WIDTH - 40)*(data.map[i][0] - left)/Math.max(1e-9, right - left),
    height - 20 - (height - 40)*(data.map[i][1] - low)/Math.max(1e-9, high - low)]]));
};
// Names next to their dots, as many as find room
const labels = (order, unit) => {
  const size = 12*unit, r = 5*unit, nodes = [];
  const taken = order.slice(0, 60).map(i => spots.get(i)).map(([x, y]) => [x - r, y - r, x + r, y + r]);
  for (const i of order) {
    if (nodes.length >= 14/unit) break;
    const [x, y] = spots.get(i), letters = [...names[i]];
    const text = letters.length > 26 ? `${letters.slice(0, 24).join('')}…` : names[i];
    const long = size*.56*[...text].length;
    const gap = (i === chosen ? 15 : 10)*unit;
    const options = [[x + gap, y + size/3, 'start', 0], [x - gap, y + size/3, 'end', long],
      [x, y - gap, 'middle', long/2], [x, y + size + gap, 'middle', long/2]];
    for (const [tx, ty, anchor, back] of options) {
      const box = [tx - back, ty - size, tx - back + long, ty + 3];
      if (box[0] < 0 || box[1] < 0 || box[2] > WIDTH || box[3] > height) continue;
      const clear = taken.every(b => box[2] <= b[0] || b[2] <= box[0] || box[3] <= b[1] || b[3] <= box[1]);
      if (!clear && i !== near && i !== chosen) continue;
      taken.push(box);
      nodes.push(shape('text', {x: tx.toFixed(1), y: ty.toFixed(1), 'text-anchor': anchor, 'font-size': size.toFixed(1),
        class: i === chosen || i === near ? 'label now' : 'label'}, text));
      break;
    }
  }
  return nodes;
};
const drawMap = () => {
  const svg = part('map'), [p] = raters(), unit = WIDTH/clip(svg.clientWidth || WIDTH, 300, WIDTH);
  const nodes = [...spots].map(([i, [x, y]]) => {
    const given = Math.max(...raters().map(q => ratingOf(q, i) ?? -Infinity));
    const kind = given === -Infinity ? '' : given >= data.mean ? 'like' : 'dislike';
    return shape('circle', {cx: x.toFixed(1), cy: y.toFixed(1), r: (kind ? 6 : 3.5)*unit, class: `spot ${kind}`});
  });
  const ring = (some, kind, r) => some.filter(i => spots.has(i)).map(i => shape('circle', {
    cx: spots.get(i)[0].toFixed(1), cy: spots.get(i)[1].toFixed(1), r: r*unit, class: kind}));
  const mine = [...state.ratings[p].keys()].reverse();
  const first = [near, chosen, ...listed.slice(0, 4), ...mine.slice(0, 6), ...listed, ...mine, ...known.slice(0, 30)];
  const order = [...new Set(first)];
  nodes.push(...ring(listed, 'ring', 7), ...ring([...state.watch[0].keys()], 'dash', 10),
    ...ring(chosen === null ? [] : [chosen], 'target', 12), ...labels(order.filter(i => spots.has(i)), unit));
  svg.setAttribute('viewBox', `0 0 ${WIDTH} ${height}`);
  svg.setAttribute('aria-label', `A map of ${plural(spots.size, 'movie')}. The menu below goes through them.`);
  svg.replaceChildren(...nodes);
};
const showMap = () => {
  if (!data.map || !part('map-fold').open) return;
  const mine = raters().flatMap(p => [...state.ratings[p].keys()].reverse().slice(0, 300));
  const all = [...new Set([...known, ...mine, ...listed, ...state.watch[0].keys()])].filter(i => data.map[i]);
  if (all.join() !== [...spots.keys()].join()) {
    const sorted = [...all].sort((a, b) => names[a].localeCompare(names[b], 'en'));
    part('spot').replaceChildren(make('option', {value: ''}, 'Choose a movie'),
      ...sorted.map(i => make('option', {value: i}, full(i))));
  }
  height = part('map').clientWidth < 500 ? 680 : 440;      // a phone's map is nearly square
  place(all);
  if (!spots.has(chosen)) chosen = null;
  part('spot').value = chosen ?? '';
  fill('chosen', chosen === null ? [] : [chosen]);
  drawMap();
};
const choose = i => { chosen = i; showMap(); };
const under = (event, reach) => {
  const box = part('map').getBoundingClientRect(), zoom = WIDTH/box.width;
  const [x, y] = [(event.clientX - box.left)*zoom, (event.clientY - box.top)*zoom];
  const [i, far] = [...spots].reduce((best, [j, [a, b]]) => Math.hypot(a - x, b - y) < best[1]
    ? [j, Math.hypot(a - x, b - y)] : best, [null, reach*zoom]);
  return far < reach*zoom ? i : null;
};

// ---- Files: CSV in and out

const quoted = text => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
// A title that a spreadsheet would take for a formula gets an apostrophe in front
const harmless = text => /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
const csv = rows => rows.map(cells => `${cells.map(cell => quoted(String(cell))).join(',')}\r\n`).join('');
const ratingsCsv = () => csv([['movie', 'title', 'rating'],
  ...[...state.ratings[state.who % 2]].map(([i, v]) => [ids[i], harmless(titles[i]), v])]);
const watchCsv = () => csv([['movie', 'title'], ...[...state.watch[0].keys()].map(i => [ids[i], harmless(titles[i])])]);
const download = (text, file) => {
  const url = URL.createObjectURL(new Blob([text], {type: 'text/csv;charset=utf-8'}));
  make('a', {href: url, download: file}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
};
const literal = () => `stars = {${[...state.ratings[state.who % 2]]
  .map(([i, v]) => `${JSON.stringify(titles[i])}: ${v}`).join(', ')}}`;      // a JSON string is a Python string, too

// Rows [line number, cells] of a text with separators; quotes may hold separators and new lines
const parseCsv = (text, separator) => {
  const rows = [];
  let cells = [], cell = '', inside = false, line = 1, from = 1;
  const end = () => {
    cells.push(cell);
    if (cells.length > 1 || cells[0].trim()) rows.push([from, cells]);
    [cells, cell, from] = [[], '', line + 1];
  };
  for (let k = 0; k < text.length; k++) {
    const c = text[k];
    if (inside) {
      if (c !== '"') cell += c;
      else if (text[k+1] === '"') cell += text[++k];
      else inside = false;
      if (c === '\n') line++;
    } else if (c === '"' && !cell) inside = true;
    else if (c === separator) { cells.push(cell); cell = ''; }
    else if (c === '\n' || (c === '\r' && text[k+1] !== '\n')) { end(); line++; }
    else if (c !== '\r') cell += c;
  }
  if (cell || cells.length) end();
  return rows;
};
const separatorOf = line => [',', ';', '\t'].map(c => [c, line.split(c).length]).sort((a, b) => b[1] - a[1])[0][0];

// The catalog by title: first whole titles, then titles without what's in parentheses, and what's in them
const keyOf = text => noArticle(plainText(inFront(text)));
const byTitle = [new Map(), new Map()];
const indexTitles = () => everything.forEach(i => {
  const [name] = splitYear(titles[i]);
  const enter = (map, text) => map.set(keyOf(text), [...map.get(keyOf(text)) ?? [], i]);
  enter(byTitle[0], name);
  if (!name.includes('(')) return;
  enter(byTitle[1], name.replace(/\s*\([^)]*\)/g, ''));
  for (const [, text] of name.matchAll(/\(([^)]*)\)/g)) enter(byTitle[1], text.replace(/^a\.?k\.?a\.?\s+/i, ''));
});
// The position of a title; null if it isn't here, undefined if it could be several movies
const findTitle = (text, given) => {
  const clean = text.trim().replace(/^'(?=[=+\-@\t\r])/, '');
  const [name, own] = splitYear(clean), year = given ?? own;
  if (!byTitle[0].size) indexTitles();
  const key = keyOf(name);
  const hits = !key ? [] : byTitle[0].get(key) ?? byTitle[1].get(key) ?? byTitle[0].get(keyOf(clean)) ?? [];
  const within = most => hits.filter(i => yearOf(i) === null || Math.abs(yearOf(i) - year) <= most);
  const some = year === null ? hits : within(0).length ? within(0) : within(1);
  if (new Set(some.map(yearOf)).size > 1) return undefined;
  return some.length ? some.reduce((a, b) => counts[b] > counts[a] ? b : a) : null;
};
const columnsOf = header => {
  const called = header.map(cell => cell.trim().toLowerCase().replace(/[\s-]+/g, '_'));
  const at = (...options) => options.map(name => called.indexOf(name)).find(k => k >= 0) ?? -1;
  return {id: at('movie', 'item', 'movie_id', 'movieid', 'item_id', 'itemid', 'id'),
    title: at('title', 'name', 'movie_title'), year: at('year'), rating: at('rating', 'stars')};
};
const ratingFrom = cell => {      // [value, why not]
  const text = (cell ?? '').trim();
  if (!text) return [null, 'the rating is empty'];
  if (!/^[-+]?(\d+([.,]\d*)?|[.,]\d+)$/.test(text)) return [null, "the rating isn't a number"];
  const value = Number(text.replace(',', '.'));
  const least = Math.min(0, lowest), most = steps.length > 1 ? highest : Infinity;     // one star: any rating will do
  if (value < least || value > most) return [null, `the rating is outside ${least} to ${highest}`];
  return [steps.reduce((a, b) => Math.abs(b - value) <= Math.abs(a - value) ? b : a), ''];
};
// Which movie a row is about: its title if it has one, since another file's ids mean other movies
const movieFrom = (cells, at) => {
  const cell = k => (cells[k] ?? '').trim();
  const id = positions.get(cell(at.id)), title = cell(at.title);
  const year = /^\d{4}$/.test(cell(at.year)) ? Number(cell(at.year)) : null;
  if (id !== undefined && (!title || plainText(title) === plainText(titles[id]))) return [id, ''];
  const text = title || cell(at.id);
  return [findTitle(text, year), text];
};
const readRatings = text => {
  const rows = parseCsv(text.replace(/^\uFEFF/, ''), separatorOf(/^[^\r\n]*/.exec(text.trimStart())[0]));
  if (!rows.length) throw new Error('The file is empty.');
  const at = columnsOf(rows[0][1]);
  if (at.rating < 0 || (at.id < 0 && at.title < 0)) {
    throw new Error('The first line has to name the columns: rating, and movie or title, as in movie,title,rating.');
  }
  const found = new Map(), missing = [], refused = [];
  let rounded = 0;
  for (const [line, cells] of rows.slice(1)) {
    const [i, title] = movieFrom(cells, at), [value, why] = ratingFrom(cells[at.rating]);
    if (why) refused.push(`line ${line}: ${why}`);
    else if (i === undefined) refused.push(`line ${line}: several movies are called ${title}, and there's no year`);
    else if (i === null && !title) refused.push(`line ${line}: there's no title`);
    else if (i === null) missing.push(title);
    else {
      found.set(i, value);
      if (steps.length > 1 && Number(cells[at.rating].trim().replace(',', '.')) !== value) rounded++;
    }
  }
  return {found, missing: [...new Set(missing)], refused, rounded, read: rows.length - 1};
};
const brief = text => text.length > 80 ? `${text.slice(0, 79)}…` : text;
const some = list => {
  const more = list.length - 10;
  return `${list.slice(0, 10).map(brief).join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
};
const report = lines => part('report').replaceChildren(...lines.filter(Boolean).map(line => make('p', {}, line)));
const refuse = why => report([`Nothing was imported. ${why}`]);
const importText = text => {
  const p = state.who % 2;
  let result;
  try { result = readRatings(text); } catch (error) { return refuse(error.message); }
  const {found, missing, refused, rounded, read} = result;
  const replaced = [...found].filter(([i, v]) => (ratingOf(p, i) ?? v) !== v).length;
  if (found.size) change(`importing ${plural(found.size, 'rating')}`, [...found].map(([i, v]) => ['ratings', p, i, v]));
  report([
    found.size ? `Read ${plural(read, 'row')} and imported ${plural(found.size, 'rating')}.`
      : `Nothing was imported. Read ${plural(read, 'row')}, but no rating of a movie that this page knows.`,
    rounded && `Rounded ${plural(rounded, 'rating')} to this page's steps.`,
    replaced && `Replaced ${plural(replaced, 'rating')} that had another value here. Undo brings them back.`,
    missing.length && `Couldn't find ${plural(missing.length, 'title')}: ${some(missing)}.`,
    refused.length && `Skipped ${plural(refused.length, 'row')}: ${some(refused)}.`]);
};
const importFile = async file => {
  if (file.size > LARGEST) return refuse(`The file has ${(file.size/1e6).toFixed(1)} MB, and 5 MB is the most.`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = null;
  try { if (!bytes.includes(0)) text = new TextDecoder('utf-8', {fatal: true}).decode(bytes); } catch { /* not text */ }
  return text === null ? refuse("It isn't text in UTF-8: save it as a CSV in UTF-8 first.") : importText(text);
};
const copy = async () => {
  show('copied', false);
  try {
    await navigator.clipboard.writeText(literal());
    report([`Copied ${plural(state.ratings[state.who % 2].size, 'rating')}. Paste them into a notebook cell.`]);
  } catch {
    report([]);
    show('copied', true);
    part('literal').value = literal();
    part('literal').focus();
    part('literal').select();
  }
};

// ---- Everything on the screen

const showPeople = () => {
  document.body.classList.toggle('both', state.who === 2);
  document.querySelectorAll('[data-who]').forEach((node, k) => {
    node.textContent = k === 2 ? 'Together' : state.names[k];
    node.setAttribute('aria-pressed', k === state.who);
  });
  document.querySelectorAll('[data-name]').forEach((node, k) => {
    if (node !== document.activeElement) node.value = state.names[k];
  });
  document.querySelectorAll('[data-act="undo"]').forEach(node => {
    node.setAttribute('aria-disabled', !done.length);       // disabled would lose the focus
    node.title = done.length ? `Undo ${done.at(-1).label}` : '';
  });
  document.querySelectorAll('[data-one]').forEach(node => { node.disabled = state.who === 2; });
  write('save-note', state.who === 2 ? 'Choose one of the two above to export, import or copy ratings.'
    : `${owner()} ratings are kept in this browser.`);
};
const showFilters = () => {
  part('dial').value = state.popular;
  part('decade').value = state.decade;
  part('genres').querySelectorAll('input').forEach(node => { node.checked = state.without.includes(node.value); });
};
const render = ({marks = false} = {}) => {
  const focus = document.activeElement, old = focus?.closest?.('[data-rows] > li'), rows = old?.parentNode;
  const place = old ? [...rows.children].indexOf(old) : -1;
  showPeople();
  showFilters();
  showFound();
  showList(marks);
  showShelves();
  showAnswer();
  showMap();
  // where the focused thing is gone, focus goes to what took its place
  if (old && document.activeElement !== focus) {
    const next = focus.isConnected ? focus : rows.children[Math.min(place, rows.children.length - 1)];
    const like = focus.matches('input') || focus.matches('.clear') ? 'input' : `[data-act="${focus.dataset.act}"]`;
    const target = next === focus ? focus : next?.querySelector(like);
    (target ?? part('list-title')).focus({preventScroll: true});
  }
};
// Filters and the dial: moves of one kind in a row are undone together
const settle = (label, changes) => {
  const last = done.at(-1), again = last?.label === label && last.who === state.who;
  if (again) done.pop();
  change(label, [], changes);
  if (again) Object.assign(done.at(-1).before, last.before);
};
const setNames = called => {        // typing has an undo of its own
  state.names = called;
  save();
  render();
};

const acts = {
  undo,
  others: () => { suggest(); showFound(); },
  more: () => { rated += 30; render(); },
  hide, unhide, watch,
  ask: i => {
    [asked, part('ask').value] = [i, full(i)];
    part('asked').replaceChildren();
    showAnswer();
    part('ask').focus();
    say(part('answer').querySelector('.result, .answers .hint').textContent);
  },
  nofilter: () => { settle('clearing the filters', {without: [], decade: ''}); part('list-title').focus(); },
  export: () => download(ratingsCsv(), 'my_ratings.csv'),
  'export-watch': () => download(watchCsv(), 'watchlist.csv'),
  import: () => part('file').click(),
  copy,
  delete: () => { show('sure', true); part('keep').focus(); },
  keep: () => { show('sure', false); part('delete').focus(); },
  really: () => { show('sure', false); report([]); deleteEverything(); part('delete').focus(); },
  'to-list': () => { part('list-section').scrollIntoView(); part('list-title').focus({preventScroll: true}); },
};
document.addEventListener('click', event => {
  const node = event.target;
  const group = node.closest('.stars');
  if (group && node.matches('input, .clear')) {
    const p = Number(group.dataset.person), i = Number(group.dataset.rate);
    const value = node.matches('.clear') ? null : Number(node.value);
    rate(i, value === ratingOf(p, i) ? null : value, p);
    if (node.matches('.clear') && node.isConnected) group.querySelector('input').focus();
  } else if (node.closest('[data-who]')) {
    suggestions = [];
    seenBefore.clear();
    state.who = Number(node.closest('[data-who]').dataset.who);
    render();
  } else if (node.closest('[data-act]')) {
    acts[node.closest('[data-act]').dataset.act](Number(node.closest('[data-position]')?.dataset.position));
  }
});
// In stars, arrow keys only move: a rating can take the row off the list, so it waits for Space, Enter or a number
const starKeys = (event, inputs) => {
  const at = inputs.indexOf(event.target), key = event.key, last = inputs.length - 1;
  const to = {ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: last}[key];
  const typed = /^\d$/.test(key) && inputs.find(node => node.value === key || (key === '0' && node.value === '10'));
  if (to === undefined && !typed && key !== 'Enter') return;
  event.preventDefault();
  if (to !== undefined) inputs[clip(to, 0, last)].focus();
  else {
    typed?.focus();
    (typed || event.target).click();
  }
};
document.addEventListener('keydown', event => {
  const node = event.target, typing = node.matches('textarea, input:not([type=radio], [type=checkbox], [type=range])');
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === 'z' && !typing) {
    event.preventDefault();
    undo();
  } else if (event.ctrlKey || event.metaKey || event.altKey) return;
  else if (node.matches('.stars input')) starKeys(event, [...node.closest('.stars').querySelectorAll('input')]);
  else if (event.key === 'ArrowDown' && node === part('ask') && part('asked').firstChild) {
    event.preventDefault();
    part('asked').querySelector('button').focus();
  }
});
part('query').addEventListener('input', () => {
  query = part('query').value;
  showFound();
  say(part('found-note').textContent.replace(/:$/, '.'));
});
part('ask').addEventListener('input', () => ask(part('ask').value));
part('dial').addEventListener('input', () => settle('moving the dial', {popular: Number(part('dial').value)}));
part('decade').addEventListener('change', () => settle('choosing a decade', {decade: part('decade').value}));
part('genres').addEventListener('change', () => settle('leaving out genres', {
  without: [...part('genres').querySelectorAll('input:checked')].map(node => node.value)}));
part('names').addEventListener('input', () => {
  const typed = [...document.querySelectorAll('[data-name]')].map(node => [...node.value.trim()].slice(0, 30).join(''));
  setNames(typed.map((name, k) => name || nobody[k]));
});
part('file').addEventListener('change', async () => {
  const [file] = part('file').files;
  if (file) await importFile(file);
  part('file').value = '';        // so that the same file can be chosen again
});
part('spot').addEventListener('change', () => choose(part('spot').value === '' ? null : Number(part('spot').value)));
part('map').addEventListener('click', event => { const i = under(event, 24); if (i !== null) choose(i); });
part('map').addEventListener('pointermove', event => {
  const i = event.pointerType === 'mouse' ? under(event, 14) : null;
  if (i !== near) { near = i; drawMap(); }
});
part('map').addEventListener('pointerleave', () => { if (near !== null) { near = null; drawMap(); } });
part('map-fold').addEventListener('toggle', showMap);

const start = () => {
  const wide = matchMedia('(min-width: 60rem)').matches;
  const decades = [...new Set(everything.map(decadeOf).filter(decade => decade !== null))];
  document.title = data.name;
  write('name', data.name);
  write('about', data.about || 'Rate a few movies, and see what to watch next.');
  const dated = [...new Set(everything.map(yearOf).filter(year => year !== null))].sort((a, b) => a - b);
  write('within', plural(ids.length, 'movie') + (dated.length > 1 ? ` from ${dated[0]} to ${dated.at(-1)}` : ''));
  part('decade').append(make('option', {value: ''}, 'any'),
    ...decades.sort((a, b) => b - a).map(year => make('option', {value: year}, `${year}s`)));
  part('genres').append(...data.genre_names.map(name =>
    make('label', {}, make('input', {type: 'checkbox', value: name}), name)));
  show('decade-box', decades.length > 0);
  show('genres-box', data.genre_names.length > 0);
  show('ask-section', critic !== null);
  show('map-section', known.length > 0);
  if (wide) document.querySelectorAll('details[data-wide]').forEach(node => { node.open = true; });
  restore();
  if (!decades.includes(Number(state.decade))) state.decade = '';
  show('bar', true);
  if ('IntersectionObserver' in window) new IntersectionObserver(([entry]) => {
    part('bar').classList.toggle('there', entry.isIntersecting);
  }, {rootMargin: '0px 0px -45% 0px'}).observe(part('list-section'));
  render();
};
start();
window.rater = {data, models, get state() { return state; }, rate, list, search, undo, importText, importFile,
  ratingsCsv, watchCsv, literal, predicted};
