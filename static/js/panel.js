// The panel of filters: beside the results where there is room, else a sheet over them.

import { find, findAll } from './dom.js'
import { again, asked, go, isSearch } from './navigation.js'

const DAYS = 365
const panel = find('#panel')
const button = find('.filters-button')
const search = find('#search')
const wide = matchMedia('(min-width: 1121px)')

// -- open or folded

const isBeside = () => wide.matches && !find('#results.start:not(.htmx-request)')
const isSheet = () => Boolean(panel?.matches(':modal'))
const isFolded = () => document.cookie.split('; ').includes('panel=folded')

function fold (folded) {
  const until = `max-age=${DAYS * 24 * 3600}; path=/; SameSite=Lax`
  document.cookie = `panel=${folded ? 'folded' : 'open'}; ${until}`
  fitPanel()
}

/** Brings the panel in line with the page. */
export function fitPanel () {
  if (!panel) return
  if (isSheet() && isBeside()) panel.close()
  if (!isSheet()) panel.toggleAttribute('open', !isFolded())
  button.setAttribute('aria-expanded', isSheet() || (isBeside() && !isFolded()))
  find('.close', panel).hidden = false
  showCutoff()
}

function openSheet () {
  panel.removeAttribute('open')
  panel.showModal()
  fitPanel()
}

if (panel) {
  button.hidden = false
  button.addEventListener('click', () => isBeside() ? fold(!isFolded()) : openSheet())
  panel.addEventListener('close', fitPanel)
  wide.addEventListener('change', fitPanel)
  panel.addEventListener('click', (event) => {
    const pressed = event.target.closest('.close, .reset, [type=submit]')
    if (!pressed) return
    event.preventDefault() // what was changed has been searched by already
    if (isSheet()) panel.close()
    else if (pressed.matches('.close')) fold(true)
    if (pressed.matches('.reset')) go(withoutFilters())
  })
}

function withoutFilters () {
  const left = asked()
  for (const name of [...left.keys()]) {
    if (!['q', 'item', 'embedding', 'concept', 'dataset'].includes(name)) left.delete(name)
  }
  return left
}

// -- what is chosen is searched by at once

/** A filter that is chosen here must not stand in the box, which would win. */
function takeOutOfBox (name) {
  const word = name.replace(/^(min|max)_/, '')
  const written = new RegExp(`(^|\\s)${word}\\s*[<>=:]+\\s*("[^"]*"|\\S+)`, 'gi')
  const box = find('#q')
  box.value = box.value.replace(written, ' ').replace(/\s+/g, ' ').trim()
}

search.addEventListener('change', changed)
panel?.addEventListener('change', changed)

function changed ({ target }) {
  if (target.form !== search || target.id === 'q') return
  if (target.name === 'dataset') return changeDataset(target.value)
  takeOutOfBox(target.name)
  if (isSearch() || (target.name === 'nsfw' && find('.grid'))) again()
}

/** An item belongs to its dataset, an embedding to its model: the words alone stay. */
function changeDataset (dataset) {
  const wanted = new URLSearchParams({ dataset })
  const words = find('#q').value.trim()
  if (words) wanted.set('q', words)
  location.assign(`${search.getAttribute('action')}?${wanted}`)
}

// -- the cutoff

function showCutoff () {
  const slider = find('#cutoff-slider')
  if (!slider) return
  const place = Number(slider.value)
  const reaching = Number(slider.dataset.reaching.split(' ')[place]).toLocaleString('en')
  const total = Number(slider.dataset.total).toLocaleString('en')
  const edge = slider.dataset.edges.split(' ')[place]
  const told = place
    ? `${reaching} of the ${total} nearest reach ${Number(edge).toFixed(3)}`
    : `All of the ${total} nearest`
  slider.setAttribute('aria-valuetext', told)
  if (slider.dataset.moved) find('#cutoff-told').textContent = told
  findAll('#cutoff rect').forEach((bar) => {
    bar.classList.toggle('below', Number(bar.dataset.place) < place)
  })
}

let settled = null
document.addEventListener('input', ({ target }) => {
  if (target.id !== 'cutoff-slider') return
  target.dataset.moved = 'yes'
  showCutoff()
})
document.addEventListener('change', ({ target }) => {
  if (target.id !== 'cutoff-slider') return
  clearTimeout(settled)
  settled = setTimeout(() => {
    const slider = find('#cutoff-slider')
    if (slider !== target) return // other results have come meanwhile
    const place = Number(slider.value)
    find('#least').value = place ? slider.dataset.edges.split(' ')[place] : ''
    takeOutOfBox('cutoff')
    again()
  }, 250) // arrow keys move it step by step
})
