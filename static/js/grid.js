// How pictures are laid out: whole in rows or all of one size, and how large. This is
// remembered, and set before anything is painted.

import { findAll, heed } from './dom.js'

const LAYOUTS = ['natural', 'even']
const root = document.documentElement

function remembered (name) {
  try {
    return localStorage.getItem(`grid:${name}`)
  } catch {
    return null // Storage is forbidden: the page then shows what it shows to everyone.
  }
}

function remember (name, value) {
  try {
    localStorage.setItem(`grid:${name}`, value)
  } catch {
    // As above.
  }
}

function lay (layout) {
  root.dataset.layout = LAYOUTS.includes(layout) ? layout : LAYOUTS[0]
}

function size (pixels) {
  if (pixels >= 80 && pixels <= 800) root.style.setProperty('--column', `${pixels}px`)
}

lay(remembered('layout'))
size(Number(remembered('column')))

// -- the tools above a grid

/** The narrowest a column is now, in pixels, whatever unit it is given in. */
function columnNow (grid) {
  const probe = document.createElement('i')
  probe.className = 'probe'
  grid.append(probe)
  const { width } = probe.getBoundingClientRect()
  probe.remove()
  return Math.round(width)
}

function show () {
  for (const tools of findAll('.grid-tools')) {
    for (const button of findAll('[data-grid].layout', tools)) {
      button.setAttribute('aria-pressed', button.dataset.grid === root.dataset.layout)
    }
    const grid = tools.parentElement.querySelector('.grid') ?? document.querySelector('main .grid')
    if (grid) tools.querySelector('input').value = columnNow(grid)
  }
}

document.addEventListener('click', ({ target }) => {
  const layout = target.closest?.('.grid-tools .layout')?.dataset.grid
  if (!layout) return
  lay(layout)
  remember('layout', layout)
  show()
})

document.addEventListener('input', ({ target }) => {
  if (!target.matches('.grid-tools input')) return
  size(Number(target.value))
  remember('column', target.value)
})

// Browsers whose style sheets cannot read the numbers of attributes are told them.
const tellsRatios = !CSS.supports('flex-grow', 'attr(data-ratio type(<number>), 1)')

function arrange () {
  show()
  if (!tellsRatios) return
  for (const hit of findAll('.hit[data-ratio]')) hit.style.setProperty('--told', hit.dataset.ratio)
}

heed('settled', arrange)
if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', arrange)
else arrange()
