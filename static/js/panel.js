// The panel of filters: beside the results on wide screens, else a sheet over them.

import { find, findAll, send } from './dom.js'
import { countsOf, edgesOf, showChoice } from './histogram_slider.js'
import { changedFields, currentParameters, hasTerms, search, submitSoon } from './navigation.js'

const COOKIE_DAYS = 365
const KEYS_PAUSE_MS = 250 // arrow keys move the slider step by step
const panel = find('#panel')
const button = find('.filters-button')
const form = find('#search')
const wide = matchMedia('(min-width: 1121px)')

// -- open or folded

const isBeside = () => wide.matches && !find('#results.start:not(.htmx-request)')
const isSheet = () => Boolean(panel?.matches(':modal'))
const isFolded = () => !document.cookie.split('; ').includes('panel=open')

function fold (folded) {
  const until = `max-age=${COOKIE_DAYS * 24 * 3600}; path=/; SameSite=Lax`
  document.cookie = `panel=${folded ? 'folded' : 'open'}; ${until}`
  fitPanel()
}

/** Fit the panel to the width of the window and to the results. */
export function fitPanel () {
  if (!panel) return
  if (isSheet() && isBeside()) panel.close()
  if (!isSheet()) panel.toggleAttribute('open', !isFolded())
  button.setAttribute('aria-expanded', isSheet() || (isBeside() && !isFolded()))
  for (const each of findAll('.close, .several', panel)) each.hidden = false
  showCutoff()
  drawRelevance()
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
    event.preventDefault() // every change has been searched by already
    if (isSheet()) panel.close()
    else if (pressed.matches('.close')) fold(true)
    if (pressed.matches('.reset')) search(withoutFilters())
  })
}

function withoutFilters () {
  const parameters = currentParameters()
  for (const name of [...parameters.keys()]) {
    if (!['q', 'item', 'embedding', 'concept', 'dataset'].includes(name)) parameters.delete(name)
  }
  return parameters
}

// -- every choice searches at once

/** Remove a filter from the box: written there, it would overrule the panel. */
function removeFromBox (name) {
  const word = name.replace(/^(min|max)_/, '')
  const filter = new RegExp(`(^|\\s)${word}\\s*[<>=:]+\\s*("[^"]*"|\\S+)`, 'gi')
  const box = find('#q')
  box.value = box.value.replace(filter, ' ').replace(/\s+/g, ' ').trim()
}

form.addEventListener('change', changed)
panel?.addEventListener('change', changed)

function changed ({ target }) {
  if (target.form !== form || target.id === 'q') return
  if (target.name === 'dataset') return changeDataset(target.value)
  if (target.closest('.several')) return changeDataset(ticked() || target.value)
  removeFromBox(target.name)
  if (hasTerms() || (target.name === 'nsfw' && find('.grid'))) submitSoon()
}

/** The datasets that are searched at once. */
const ticked = () => findAll('.several input:checked', panel).map(({ value }) => value).join(',')

/** Keep only the words: an item belongs to its dataset, an embedding to its model. */
function changeDataset (dataset) {
  const parameters = new URLSearchParams({ dataset })
  const words = find('#q').value.trim()
  if (words) parameters.set('q', words)
  location.assign(`${form.getAttribute('action')}?${parameters}`)
}

// -- the cutoff

let drawn = '' // the address of the histogram that is shown, or on its way

/** Load the histogram of the results, if the panel shows it. */
async function drawRelevance () {
  const place = find('#relevance')
  const address = find('#results')?.dataset.relevance ?? ''
  if (!place?.checkVisibility() || address === drawn) return
  drawn = address
  let content = ''
  try {
    if (address) content = await send(address, {}, { method: 'GET' })
  } catch {
    if (drawn === address) drawn = '' // the field is there without it, and the next results try again
  }
  if (find('#results')?.dataset.relevance !== address && address) return
  if (changedFields().has('cutoff')) { // the slider is being moved: its results draw it
    drawn = ''
    return
  }
  const isFocused = document.activeElement?.id === 'cutoff-slider'
  place.innerHTML = content
  if (isFocused) find('#cutoff-slider')?.focus()
  showCutoff()
}

function showCutoff () {
  const slider = find('#cutoff-slider')
  if (!slider) return
  const place = Number(slider.value)
  const count = countsOf(slider)[place].toLocaleString('en')
  const total = Number(slider.dataset.total).toLocaleString('en')
  const description = place
    ? `${count} of the top ${total} reach ${edgesOf(slider)[place].toFixed(3)}`
    : `All of the top ${total}`
  showChoice(slider, description)
  if (slider.dataset.moved) find('#cutoff-count').textContent = description
}

document.addEventListener('input', ({ target }) => {
  if (target.id !== 'cutoff-slider') return
  target.dataset.moved = 'yes'
  const place = Number(target.value)
  find('#least').value = place ? edgesOf(target)[place] : ''
  showCutoff()
})
document.addEventListener('change', ({ target }) => {
  if (target.id !== 'cutoff-slider') return
  removeFromBox('cutoff')
  submitSoon(KEYS_PAUSE_MS)
})
