start('factor_sheet', (root, {ratings, users, movies, lr, names, width, height}) => {
  const first = structuredClone({users, movies});
  const state = root.live = {users, movies, lr, error: NaN, steps: 0, history: []};
  const say = speaker(root);
  const rated = sum(ratings.map(row => row.filter(r => r !== null).length));
  let running = null;

  // How far each prediction is from its rating: too low is negative; null where there's no rating
  const misses = () => ratings.map((row, i) => row.map((rating, j) =>
    rating === null ? null : sum(state.users[i].map((u, k) => u*state.movies[j][k])) - rating));

  const measure = () => sum(misses().flat().map(miss => miss*miss))/rated;

  // One step against the gradient of the MSE, for both tables at once
  const step = () => {
    const miss = misses();
    const down = (table, other, at) => table.map((row, i) => row.map((value, k) =>
      value - state.lr*2/rated*sum(other.map((o, j) => (at(i, j) ?? 0)*o[k]))));
    const users = down(state.users, state.movies, (i, j) => miss[i][j]);
    state.movies = down(state.movies, state.users, (j, i) => miss[i][j]);
    state.users = users;
    state.steps += 1;
    state.history.push(measure());
  };

  const lost = () => !(state.history[state.steps] < 100*first.error);

  const inputs = [];
  const addInput = (kind, i, k) => {
    const cell = find(root, `${kind}-${i}-${k}`);
    const input = make('input', {type: 'number', step: '0.1', 'aria-label': `${names[kind][i]}, factor ${k + 1}`});
    input.addEventListener('input', () => {
      const value = input.valueAsNumber;
      input.setAttribute('aria-invalid', Number.isNaN(value));
      if (Number.isNaN(value)) return;
      stop();
      state[kind][i][k] = value;
      state.history[state.history.length - 1] = measure();
      update(input);
    });
    input.addEventListener('blur', () => update());
    cell.replaceChildren(input);
    inputs.push({input, value: () => state[kind][i][k]});
  };

  const drawCurve = () => {
    const top = 1.05*Math.max(first.error, Math.min(3*first.error, Math.max(...state.history)));
    const across = Math.max(50, state.steps);
    const spot = (error, i) => [width*i/across, height*(1 - Math.min(1.1, error/top))];
    const points = state.history.map(spot);
    set(find(root, 'curve'), {d: path(points)});
    const [x, y] = points[points.length - 1];
    set(find(root, 'now'), {cx: x, cy: y});
    write(root, 'top', fixed(top, 1));
    write(root, 'across', `${across} steps`);
  };

  const update = typing => {
    state.error = measure();
    for (const {input, value} of inputs) {
      if (input === typing) continue;
      input.value = Math.abs(value()) < 1000 ? value().toFixed(2) : value().toExponential(0);
      input.setAttribute('aria-invalid', false);
    }
    state.users.forEach((u, i) => state.movies.forEach((m, j) => {
      const cell = find(root, `cell-${i}-${j}`);
      const prediction = sum(u.map((value, k) => value*m[k]));
      cell.firstElementChild.textContent = fixed(prediction);
      if (ratings[i][j] === null) return;
      const miss = prediction - ratings[i][j];
      const strength = Math.min(.5, .25*Math.abs(miss)).toFixed(2);
      cell.style.backgroundColor = `rgba(${miss > 0 ? '213, 94, 0' : '0, 114, 178'}, ${strength})`;
    }));
    write(root, 'error', fixed(state.error));
    write(root, 'steps', `after ${state.steps} ${state.steps === 1 ? 'step' : 'steps'}`);
    find(root, 'one').disabled = find(root, 'many').disabled = lost();
    const advice = lost() ? 'The error explodes: the learning rate is too large. Start over with a smaller one.' : '';
    write(root, 'advice', advice);
    drawCurve();
    if (!running) say(`Error ${fixed(state.error)} after ${state.steps} steps. ${advice}`);
  };

  const stop = () => {
    clearTimeout(running);
    running = null;
  };
  const go = left => {
    step();
    running = left > 1 && !lost() ? setTimeout(go, 50, left - 1) : null;
    update();
  };

  for (const kind of ['users', 'movies']) {
    state[kind].forEach((row, i) => row.forEach((_, k) => addInput(kind, i, k)));
  }
  find(root, 'one').addEventListener('click', () => { stop(); go(1); });
  find(root, 'many').addEventListener('click', () => {
    stop();
    if (!calm()) return go(20);
    for (let i = 0; i < 20 && !lost(); i++) step();
    update();
  });
  find(root, 'reset').addEventListener('click', () => {
    stop();
    const {users, movies} = structuredClone(first);
    Object.assign(state, {users, movies, steps: 0, history: [first.error]});
    update();
  });
  const slider = find(root, 'lr');
  const showRate = () => {
    write(root, 'rate', fixed(state.lr));
    slider.setAttribute('aria-valuetext', fixed(state.lr));
  };
  slider.addEventListener('input', () => {
    state.lr = Number((10**slider.valueAsNumber).toPrecision(2));
    showRate();
  });
  showRate();
  first.error = measure();
  state.history.push(first.error);
  update();
});
