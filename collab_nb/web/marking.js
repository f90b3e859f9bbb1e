// Boxes to tick beside the cells of a notebook, and a line to copy that names the cells that are ticked.
for (const root of document.querySelectorAll('.cnb-marking:not([data-started])')) {
  root.dataset.started = '';
  const boxes = [...root.querySelectorAll('input[type="checkbox"]')];
  const bar = root.querySelector('.cnb-bar');
  const line = bar.querySelector('input');
  bar.hidden = false;
  const tell = () => { line.value = `marks = [${boxes.filter(b => b.checked).map(b => b.value).join(', ')}]`; };
  for (const box of boxes) {
    box.hidden = false;
    box.checked = false;
    box.addEventListener('change', tell);
  }
  line.addEventListener('focus', () => line.select());
  // JupyterLab would take keys for its own commands
  root.addEventListener('keydown', event => event.ctrlKey || event.metaKey || event.stopPropagation());
  tell();
}
