start('movie_map', (root, {movies, you, axes, genres, most, margin, char, line}) => {
  const names = movies.map(movie => movie[0]);
  const state = root.live = {genre: '', at: 0, shown: [], labels: []};
  const say = speaker(root);
  const svg = root.querySelector('.cnb-map');
  const genre = find(root, 'genre');
  const chooser = find(root, 'movie');
  let spots = [];
  let width = 0;

  const shape = (tag, attributes, text = '') => {
    const node = document.createElementNS(svg.namespaceURI, tag);
    set(node, attributes);
    node.textContent = text;
    return node;
  };

  // Places in the drawing, with the same scale across and up, and the drawing's height; as in Python
  const layout = wide => {
    const all = [...movies.map(([, x, y]) => [x, y]), ...(you ? [[0, 0], you.tip] : [])];
    const [low, high] = [Math.min, Math.max].map(f => [0, 1].map(k => f(...all.map(point => point[k]))));
    const unit = (wide - 2*margin)/Math.max(high[0] - low[0], 1e-9);
    const place = ([x, y]) => [margin + (x - low[0])*unit, margin + (high[1] - y)*unit];
    return [place, 2*margin + (high[1] - low[1])*unit];
  };

  // The first free place for each name: right, left, above, below
  const label = (shown, height, taken) => {
    const placed = [];
    for (const i of shown) {
      const [x, y] = spots[i];
      const long = char*[...names[i]].length;
      const gap = i === shown[0] ? 12 : 8;     // the chosen dot has a ring
      const tries = [[x + gap, y + 4, 'start', 0], [x - gap, y + 4, 'end', long],
                     [x, y - 9, 'middle', long/2], [x, y + 18, 'middle', long/2]];
      for (const [tx, ty, anchor, back] of tries) {
        const box = [tx - back, ty - line + 3, tx - back + long, ty + 3];
        const inside = box[0] >= 0 && box[1] >= 0 && box[2] <= width && box[3] <= height;
        const clear = taken.every(b => box[2] <= b[0] || b[2] <= box[0] || box[3] <= b[1] || b[3] <= box[1]);
        if (!inside || !clear) continue;
        taken.push(box);
        placed.push([i, tx, ty, anchor]);
        break;
      }
    }
    return placed;
  };

  const around = ([x, y], r) => [x - r, y - r, x + r, y + r];

  const draw = () => {
    const [place, height] = layout(width);
    spots = movies.map(([, x, y]) => place([x, y]));
    const {shown, at} = state;
    const taken = shown.map(i => around(spots[i], 5));
    const nodes = movies.map((_, i) => shape('circle', {
      cx: spots[i][0].toFixed(1), cy: spots[i][1].toFixed(1), r: shown.includes(i) ? 5 : 3,
      class: shown.includes(i) ? 'cnb-spot' : 'cnb-faint'}));
    if (you) {
      const [from, to] = [place([0, 0]), place(you.tip)];
      const end = place([1.12*you.tip[0], 1.12*you.tip[1]]);
      const turn = Math.atan2(to[1] - from[1], to[0] - from[0])*180/Math.PI;
      const arrow = shape('g', {class: 'cnb-arrow cnb-user'});
      const [[x1, y1], [x2, y2]] = [from, to].map(point => point.map(v => v.toFixed(1)));
      arrow.append(
        shape('line', {x1, y1, x2, y2}),
        shape('path', {d: 'M4 0L-11 -7L-11 7Z', transform: `translate(${x2} ${y2}) rotate(${turn.toFixed(1)})`}),
        shape('text', {x: end[0].toFixed(1), y: (end[1] + 4).toFixed(1), 'text-anchor': 'middle'}, 'you'));
      nodes.push(arrow);
      taken.push(around(end, 14));
      for (let k = 0; k < 13; k++) taken.push(around(place([k/12*you.tip[0], k/12*you.tip[1]]), 4));
    }
    // the chosen movie's name comes first
    const placed = label([at, ...shown.filter(i => i !== at)], height, taken);
    state.labels = placed.map(([i]) => names[i]);
    nodes.push(shape('circle', {class: 'cnb-ring', r: 9, cx: spots[at][0].toFixed(1), cy: spots[at][1].toFixed(1)}));
    nodes.push(...placed.map(([i, x, y, anchor]) => shape('text', {
      class: i === at ? 'cnb-label cnb-chosen' : 'cnb-label', x: x.toFixed(1), y: y.toFixed(1), 'text-anchor': anchor},
      names[i])));
    set(svg, {viewBox: `0 0 ${width} ${height.toFixed(0)}`});
    svg.replaceChildren(...nodes);
  };

  const along = i => movies[i][1]*you.way[0] + movies[i][2]*you.way[1];

  // The table: who is farthest in each direction, among the movies shown
  const ends = () => {
    const far = [i => movies[i][1], i => -movies[i][1], i => movies[i][2], i => -movies[i][2],
                 ...(you ? [along, i => -along(i)] : [])];
    far.forEach((value, row) => {
      const i = state.shown.reduce((best, j) => value(j) > value(best) ? j : best);
      write(root, `end-${row}`, names[i]);
      [movies[i][1], movies[i][2], ...(you ? [along(i)] : [])].forEach((v, k) => {
        write(root, `end-${row}-${k}`, fixed(v));
      });
    });
  };

  const tell = () => {
    const [title, x, y, kinds] = movies[state.at];
    const facts = [
      ...(kinds.length ? [kinds.map(k => genres[k]).join(', ')] : []),
      `${axes[0]}: ${fixed(x)}`, `${axes[1]}: ${fixed(y)}`,
      ...(you ? [`along the arrow: ${fixed(along(state.at))}`] : [])].join(' · ');
    write(root, 'title', title);
    write(root, 'facts', facts);
    chooser.value = state.at;
    say(`${title}. ${facts}`);
  };

  const choose = i => {
    if (i === state.at) return;
    state.at = i;
    draw();
    tell();
  };

  const filter = () => {
    const k = genres.indexOf(state.genre);
    state.shown = movies.map((_, i) => i).filter(i => k < 0 || movies[i][3].includes(k));
    if (!state.shown.includes(state.at)) state.at = state.shown[0];
    const byName = [...state.shown].sort((a, b) => names[a].localeCompare(names[b], 'en'));
    chooser.replaceChildren(...byName.map(i => make('option', {value: i}, names[i])));
    write(root, 'shown', k < 0 ? `All ${movies.length} movies`
      : `${state.shown.length} of the ${movies.length} movies: ${state.genre}`);
    ends();
    draw();
    tell();
  };

  // The movie nearest to the pointer, if it's near enough
  const under = (event, reach) => {
    const box = svg.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left)*width/box.width, (event.clientY - box.top)*width/box.width];
    const distance = i => Math.hypot(spots[i][0] - x, spots[i][1] - y);
    const i = state.shown.reduce((best, j) => distance(j) < distance(best) ? j : best);
    if (distance(i) <= reach) choose(i);
  };

  svg.addEventListener('pointermove', event => under(event, 20));
  svg.addEventListener('pointerdown', event => under(event, 40));
  genre.append(make('option', {value: ''}, 'all'), ...genres.map(name => make('option', {value: name}, name)));
  genre.addEventListener('change', () => { state.genre = genre.value; filter(); });
  chooser.addEventListener('change', () => choose(Number(chooser.value)));
  find(root, 'reset').addEventListener('click', () => {
    Object.assign(state, {genre: '', at: 0});
    genre.value = '';
    filter();
  });
  const fit = () => {
    const room = clamp(Math.floor(root.clientWidth) - 4, 300, most);
    if (room === width) return;
    width = room;
    if (state.shown.length) draw();
  };
  fit();
  filter();
  new ResizeObserver(fit).observe(root);
});
