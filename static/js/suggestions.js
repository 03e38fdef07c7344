// Suggestions below the search box. site.js loads this when the box gets the focus.
// Recent searches of visitors stay in the browser.

import { find, findAll, RequestError, send } from './dom.js'
import { currentParameters, go, search } from './navigation.js'
import { local, parse } from './storage.js'

const PAUSE_MS = 120 // after a keystroke
const DEADLINE_S = 4
const ITEMS_PAUSE_MS = 500 // after the other suggestions: these take a search
const MIN_ITEMS_LETTERS = 3
const RECENT_KEY = 'search:recent'
const MAX_RECENT = 20
const MAX_SHOWN_RECENT = 6
const box = find('#q')
const form = box.form
const isVisitor = !find('.menu .signed-in')
let list = null
let entries = []
let chosen = -1

// -- the list

function close () {
  requests++
  clearTimeout(timer)
  if (!list) return
  list.remove()
  list = null
  entries = []
  chosen = -1
  box.setAttribute('aria-expanded', 'false')
  box.removeAttribute('aria-activedescendant')
}

function option (entry) {
  const element = document.createElement('div')
  element.role = 'option'
  element.id = `suggestion-${entries.push(entry) - 1}`
  element.ariaSelected = 'false'
  element.dir = 'auto'
  if (entry.image) {
    const image = document.createElement('img')
    image.src = entry.image
    image.alt = ''
    image.width = image.height = 36
    element.append(image)
  }
  element.append(entry.label || 'A search')
  return element
}

function group ({ title, entries }, number) {
  const element = document.createElement('div')
  element.role = 'group'
  const heading = document.createElement('div')
  heading.className = 'group'
  heading.id = `suggestions-${number}`
  heading.role = 'presentation'
  heading.textContent = title
  element.setAttribute('aria-labelledby', heading.id)
  element.append(heading, ...entries.map(option))
  return element
}

function show (groups) {
  close()
  if (groups.length && document.activeElement === box) open(groups)
}

function open (groups) {
  list = document.createElement('div')
  list.id = 'suggestions'
  list.role = 'listbox'
  list.ariaLabel = 'Suggestions'
  list.append(...groups.map(group))
  // Otherwise the box would lose the focus, and the list close, before the click.
  list.addEventListener('pointerdown', (event) => event.preventDefault())
  list.addEventListener('click', ({ target }) => {
    const place = findAll('[role=option]', list).indexOf(target.closest('[role=option]'))
    if (place >= 0) take(entries[place])
  })
  box.closest('.box').append(list)
  box.setAttribute('aria-expanded', 'true')
}

let requests = 0
let timer = null

/** Ask for suggestions; what comes for an older text is dropped. */
export async function suggest () {
  const number = ++requests
  const text = box.value
  const parameters = new URLSearchParams({ q: text, dataset: new FormData(form).get('dataset') ?? '' })
  const own = recentOf(text)
  try {
    const { groups } = await send(`/suggest?${parameters}`, {}, { method: 'GET', seconds: DEADLINE_S })
    if (number !== requests) return
    show([...own, ...groups])
    itemsLater(parameters)
  } catch (error) {
    // The box works without suggestions.
    if (!(error instanceof RequestError)) throw error
    if (number === requests) show(own)
  }
}

/** Add items that look like the words, once the user pauses. */
function itemsLater (parameters) {
  const number = requests
  if (parameters.get('q').trim().length < MIN_ITEMS_LETTERS || !parameters.get('dataset')) return
  timer = setTimeout(async () => {
    const { entries: found } = await send(`/suggest/items?${parameters}`, {}, { method: 'GET', seconds: DEADLINE_S }).catch(() => ({ entries: [] }))
    if (number !== requests || !found.length || document.activeElement !== box) return
    const items = { title: 'Add an image', entries: found }
    if (list) list.append(group(items, 'items'))
    else open([items])
  }, ITEMS_PAUSE_MS)
}

function suggestSoon () {
  requests++ // what is under way is for another text
  clearTimeout(timer)
  timer = setTimeout(suggest, PAUSE_MS)
}

// -- recent searches of visitors

const stored = () => parse(local.get(RECENT_KEY)) ?? []

function recentOf (text) {
  const wanted = text.trim().toLocaleLowerCase()
  const found = stored().filter((words) => words.toLocaleLowerCase().includes(wanted) && words !== text)
  const entries = found.slice(0, MAX_SHOWN_RECENT).map((words) => ({ label: words, words }))
  return isVisitor && entries.length ? [{ title: 'Recent', entries }] : []
}

form.addEventListener('submit', () => {
  close()
  const words = box.value.trim()
  if (!isVisitor || !words) return
  local.set(RECENT_KEY, JSON.stringify([words, ...stored().filter((each) => each !== words)].slice(0, MAX_RECENT)))
})

// -- choosing

function take (entry) {
  close()
  if (entry.address) return go(entry.address)
  box.value = entry.words ?? ''
  if (!entry.concept && !entry.item) return form.requestSubmit()
  const parameters = document.body.matches('.searching') ? currentParameters() : new URLSearchParams()
  const dataset = new FormData(form).get('dataset')
  if (dataset) parameters.set('dataset', dataset)
  if (entry.words) parameters.set('q', entry.words)
  else parameters.delete('q')
  if (entry.concept) parameters.append('concept', entry.concept)
  else parameters.append('item', entry.item)
  search(parameters)
}

function choose (index) {
  const options = findAll('[role=option]', list)
  options[chosen]?.setAttribute('aria-selected', 'false')
  // -1, the box itself, comes before the first option and after the last.
  chosen = (index + options.length + 2) % (options.length + 1) - 1
  if (chosen < 0) return box.removeAttribute('aria-activedescendant')
  options[chosen].setAttribute('aria-selected', 'true')
  options[chosen].scrollIntoView({ block: 'nearest' })
  box.setAttribute('aria-activedescendant', options[chosen].id)
}

function press (event) {
  if (event.key === 'ArrowDown' && !list) suggest()
  else if (!list) return
  else if (event.key === 'ArrowDown') choose(chosen + 1)
  else if (event.key === 'ArrowUp') choose(chosen - 1)
  else if (event.key === 'Enter' && chosen >= 0) take(entries[chosen])
  else if (event.key === 'Escape') close()
  else return
  event.preventDefault()
}

box.role = 'combobox'
box.setAttribute('aria-expanded', 'false')
box.setAttribute('aria-autocomplete', 'list')
box.setAttribute('aria-controls', 'suggestions')
box.setAttribute('aria-haspopup', 'listbox')
box.addEventListener('focus', suggest)
box.addEventListener('click', () => { if (!list) suggest() })
box.addEventListener('input', suggestSoon)
box.addEventListener('blur', close)
box.addEventListener('keydown', press)
