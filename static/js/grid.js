// The layout of a grid: whole images in rows or all of one size, and the width of
// columns. Both are stored, and set before the first paint.

import { findAll, listen } from './dom.js'
import { local } from './storage.js'

const LAYOUTS = ['natural', 'even']
const root = document.documentElement

function setLayout (layout) {
  root.dataset.layout = LAYOUTS.includes(layout) ? layout : LAYOUTS[0]
}

function setColumn (pixels) {
  if (pixels >= 80 && pixels <= 800) root.style.setProperty('--column', `${pixels}px`)
}

setLayout(local.get('grid:layout'))
setColumn(Number(local.get('grid:column')))

// -- the tools above a grid

/** The minimum width of a column in pixels; style sheets set it in other units. */
function columnWidth (grid) {
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
    if (grid) tools.querySelector('input').value = columnWidth(grid)
  }
}

document.addEventListener('click', ({ target }) => {
  const layout = target.closest?.('.grid-tools .layout')?.dataset.grid
  if (!layout) return
  setLayout(layout)
  local.set('grid:layout', layout)
  show()
})

document.addEventListener('input', ({ target }) => {
  if (!target.matches('.grid-tools input')) return
  setColumn(Number(target.value))
  local.set('grid:column', target.value)
})

// Style sheets of some browsers cannot read numbers from attributes.
const setsRatios = !CSS.supports('flex-grow', 'attr(data-ratio type(<number>), 1)')

function arrange () {
  show()
  if (!setsRatios) return
  for (const hit of findAll('.hit[data-ratio]')) hit.style.setProperty('--natural', hit.dataset.ratio)
}

listen('settled', arrange)
if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', arrange)
else arrange()
