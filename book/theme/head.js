// Runs before the first paint, so that a stored choice never flashes.
try {
  const mode = localStorage.getItem('mode');
  if (mode) document.documentElement.dataset.mode = mode;
} catch (e) { /* no storage: the system's choice stands */ }
