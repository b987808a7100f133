'use strict';
const one = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
const root = document.documentElement;

// ---- light and dark ----------------------------------------------------------------------------
const system = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => root.dataset.mode ? root.dataset.mode === 'dark' : system.matches;
const labelMode = () => { one('#mode').textContent = isDark() ? 'Light' : 'Dark'; };
one('#mode').onclick = () => {
  root.dataset.mode = isDark() ? 'light' : 'dark';
  try { localStorage.setItem('mode', root.dataset.mode); } catch (e) { /* only for this page, then */ }
  labelMode();
};
system.onchange = labelMode;
labelMode();

// ---- the contents on small screens: they open over the page, where the reader is ---------------
const menu = one('#menu'), contents = one('#contents');
const showContents = shown => {
  contents.classList.toggle('open', shown);
  menu.setAttribute('aria-expanded', shown);
};
const contentsAreOpen = () => contents.classList.contains('open');
menu.onclick = () => {
  showContents(!contentsAreOpen());
  if (!contentsAreOpen()) return;
  contents.focus({ preventScroll: true });
  one('[aria-current]', contents)?.scrollIntoView({ block: 'nearest' });
};
contents.addEventListener('click', e => { if (e.target.closest('a')) showContents(false); });
document.addEventListener('click', e => { if (!e.target.closest('#contents, #menu')) showContents(false); });
document.addEventListener('keydown', e => {
  if (e.key !== 'Escape' || !contentsAreOpen()) return;
  showContents(false);
  menu.focus();
});

// ---- copy: of a terminal only the commands, of code no callouts --------------------------------
const copyable = pre => {
  const commands = all('.cmd', pre);
  if (commands.length) return commands.map(c => c.textContent).join('\n');
  if (one('code[data-lang=console]', pre)) return '';
  const copy = pre.cloneNode(true);
  all('.conum', copy).forEach(callout => callout.remove());
  return copy.textContent.replace(/\s*(\/\/|#)?[ \t]*$/gm, line => line.includes('\n') ? line.replace(/[^\n]/g, '') : '');
};
const copy = async text => {
  try {
    await navigator.clipboard.writeText(text);
  } catch (e) {   // some browsers give file:// no clipboard
    const area = make('textarea', { value: text });
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
};
for (const pre of all('.listingblock pre')) {
  const text = copyable(pre);
  if (!text) continue;
  const what = one('.cmd', pre) ? (all('.cmd', pre).length > 1 ? 'Copy commands' : 'Copy command') : 'Copy';
  const button = make('button', { className: 'copy', type: 'button', textContent: what });
  button.onclick = async () => {
    await copy(text);
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = what; }, 1500);
  };
  pre.parentElement.append(button);
}

// ---- what scrolls sideways can be reached with the keyboard ------------------------------------
const reachable = () => all('pre, .scroll').forEach(box => {
  if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
  else box.removeAttribute('tabindex');
});
addEventListener('resize', reachable);
addEventListener('toggle', reachable, true);
document.fonts.ready.then(reachable);

// ---- search: every word must begin a word of the place; titles weigh more ----------------------
const box = one('#search'), found = one('#found'), hits = one('#hits');
const words = text => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [];
let index = null;
const score = (place, wanted) => {
  let sum = 0;
  for (const word of wanted) {
    const begins = w => w.startsWith(word);
    const s = (place.page.some(begins) ? 8 : 0) + (place.title.some(begins) ? 6 : 0) + Math.min(5, place.text.filter(begins).length);
    if (!s) return 0;
    sum += s;
  }
  return sum;
};
const search = () => {
  index ||= BOOK_INDEX.map(([href, page, title, text]) => ({ href, names: [page, title], page: words(page), title: words(title), text: words(text) }));
  const wanted = words(box.value);
  const best = index.map(place => [score(place, wanted), place]).filter(([s]) => s).sort((a, b) => b[0] - a[0]).slice(0, 12);
  hits.replaceChildren(...best.map(([, place]) => {
    const link = make('a', { href: place.href, textContent: place.names[1] || place.names[0] });
    if (place.names[1]) link.append(make('small', { textContent: place.names[0] }));
    const item = make('li');
    item.append(link);
    return item;
  }));
  one('#count').textContent = best.length ? `${best.length === 12 ? 'The best 12 places' : best.length + (best.length === 1 ? ' place' : ' places')}` : 'Nothing found';
  found.hidden = !wanted.length;
};
box.oninput = search;
box.onfocus = () => { if (box.value) search(); };
const closeSearch = () => { found.hidden = true; };
document.addEventListener('click', e => { if (!e.target.closest('.find')) closeSearch(); });
document.addEventListener('keydown', e => {
  const typing = /^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (e.key === '/' && !typing && !e.ctrlKey && !e.metaKey && !e.altKey) {
    e.preventDefault();
    box.focus();
    box.select();
  } else if (e.key === 'Escape' && e.target.closest('.find')) {
    closeSearch();
    box.blur();
    document.activeElement.blur();
  }
});
one('.find').addEventListener('keydown', e => {
  const links = all('a', hits), at = links.indexOf(document.activeElement);
  if (e.key === 'ArrowDown' && links.length && !found.hidden) links[Math.min(at + 1, links.length - 1)].focus();
  else if (e.key === 'ArrowUp' && at >= 0) (at ? links[at - 1] : box).focus();
  else if (e.key === 'Enter' && at < 0 && links.length && !found.hidden) { location.href = links[0].href; closeSearch(); }
  else return;
  e.preventDefault();
});

// ---- where the reader is in the book -----------------------------------------------------------
const nav = one('.nav'), page = one('.nav [aria-current]');
if (page) nav.scrollTop = page.offsetTop - nav.offsetTop - nav.clientHeight / 2;

// ---- which section is on the screen: that of the last heading above a line near the top ---------
const entries = all('.toc a').map(entry => ({ entry, heading: document.getElementById(decodeURIComponent(entry.hash.slice(1))) }));
const height = ({ heading }) => heading.getBoundingClientRect().top;
const sectionHere = () => {
  const line = one('.bar').offsetHeight + 72;   // a heading that was jumped to stands above it
  if (innerHeight + scrollY < root.scrollHeight - 2) return entries.findLast(each => height(each) < line);
  // At the end of the page the last headings do not get that far up: the one that was asked for, or the last.
  return entries.find(each => each.entry.hash === location.hash && height(each) >= line) || entries.at(-1);
};
const markSection = () => {
  const here = sectionHere();
  if (here?.entry.ariaCurrent) return;
  entries.forEach(({ entry }) => entry.removeAttribute('aria-current'));
  here?.entry.setAttribute('aria-current', 'true');
  here?.entry.scrollIntoView({ block: 'nearest' });
};
if (entries.length) {
  addEventListener('scroll', () => requestAnimationFrame(markSection), { passive: true });
  addEventListener('resize', markSection);
  addEventListener('toggle', markSection, true);
  markSection();
}
