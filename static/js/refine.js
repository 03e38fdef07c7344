// Marks on hits, gathered in a bar, and the rounds that are made of them.

import { find, findAll, heed, Refused, send, tell } from './dom.js'
import { bind } from './keys.js'
import { hits } from './hits.js'

const MOST = 500 // as in collections/refining/rounds.py
const MOST_SEEN = 5_000
const NONE = { steps: [] }
const PULLS = { '-2': 'gentle', '-1': 'mild', 0: 'balanced', 1: 'strong', 2: 'strongest' }

const bar = find('#refine')
const slider = find('.strength input', bar)
const dialog = find('#save-concept')
const marks = new Map() // id → whether it is good, in the order in which they were given
const seen = new Set() // ids that came into sight
let here = null // the address whose marks these are
let rounds = NONE

/** The address of the results, also while a panel over them has put its own there. */
const address = () => window.history.state?.results ?? location.pathname + location.search
const asked = () => new URL(address(), location.href).searchParams
const dataset = () => hits()[0]?.dataset.dataset ?? asked().get('dataset') ?? ''
const isSearch = () => Boolean(find('#results') && !find('#results.start'))
const ids = (good) => [...marks].filter(([, is]) => is === good).map(([id]) => id)

// -- what is kept for each search in this tab

function read (of) {
  try {
    return JSON.parse(sessionStorage.getItem(`refine:${of}`))
  } catch {
    return null
  }
}

const state = () => ({
  marks: [...marks],
  pull: slider.value,
  seen: [...seen],
  refined: rounds.steps.length > 0
})

function keep (of = here, what = state()) {
  try {
    sessionStorage.setItem(`refine:${of}`, JSON.stringify(what))
  } catch {
    // Storage is full or forbidden: marks then last as long as the page.
  }
}

// -- marks

heed('mark', ({ items, good }) => {
  if (!isSearch()) return tell('toast', { text: 'Marks refine a search: search for something first.' })
  for (const { id } of items) {
    marks.delete(id)
    if (good !== null && marks.size < MOST) marks.set(id, good)
  }
  if (marks.size >= MOST) tell('toast', { text: `A round takes up to ${MOST} marks.` })
  changed()
})

function changed () {
  keep()
  show()
}

function showMarks () {
  for (const owner of findAll('main .hit[data-item], #detail .item[data-item]')) {
    const good = marks.get(Number(owner.dataset.item))
    const word = good === undefined ? undefined : good ? 'good' : 'bad'
    if (owner.dataset.mark === word) continue
    if (word) owner.dataset.mark = word
    else delete owner.dataset.mark
  }
}

function thumbnail (id, good) {
  const shown = find('template.mark', bar).content.firstElementChild.cloneNode(true)
  const button = find('button', shown)
  button.dataset.id = id
  button.title = button.ariaLabel = `Unmark picture ${id}, marked ${good ? 'good' : 'bad'}`
  find('img', shown).src = `/t/${encodeURIComponent(dataset())}/${id}/160.webp`
  return shown
}

/** The newest first; those that stay are not loaded again. */
function list (good) {
  const list = find(good ? '.marks .good' : '.marks .bad', bar)
  const known = new Map(findAll('li', list).map((each) => [find('button', each).dataset.id, each]))
  list.replaceChildren(...ids(good).reverse().map((id) => known.get(String(id)) ?? thumbnail(id, good)))
}

find('.marks', bar).addEventListener('click', ({ target }) => {
  const button = target.closest('button')
  if (!button) return
  const others = findAll('.marks button', bar)
  const next = others[others.indexOf(button) + 1] ?? others.at(-2)
  marks.delete(Number(button.dataset.id))
  changed()
  if (next) find(`.marks button[data-id="${next.dataset.id}"]`, bar)?.focus()
  else find('a.picture', hits()[0] ?? document)?.focus({ preventScroll: true })
})

find('.clear', bar).addEventListener('click', () => {
  const before = state()
  const of = here
  marks.clear()
  changed()
  tell('toast', {
    text: 'The marks are gone.',
    undo () {
      keep(of, before)
      if (here !== of) return
      restore(before)
      show()
    }
  })
})

slider.addEventListener('input', () => {
  slider.ariaValueText = PULLS[slider.value]
  keep()
})

find('.unfold', bar).addEventListener('click', ({ currentTarget }) => {
  const open = bar.classList.toggle('open')
  currentTarget.ariaExpanded = open
})

// -- what came into sight

const sight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting && seen.size < MOST_SEEN) seen.add(Number(target.dataset.item))
  }
}, { threshold: 0.5 })

function watch () {
  sight.disconnect()
  for (const hit of hits()) sight.observe(hit)
}

// -- rounds

let submitted = 0
async function refine () {
  const number = ++submitted
  const button = find('.go', bar)
  button.setAttribute('aria-busy', 'true')
  const given = { ...state(), refined: true }
  try {
    keep(here, given)
    const round = await send(bar.dataset.refine, {
      search: query(),
      good: ids(true).join(),
      bad: ids(false).join(),
      shown: [...seen].join(),
      strength: 2 ** Number(slider.value)
    })
    if (number !== submitted) return // another one was asked for meanwhile
    keep(round.address, { ...given, seen: [] })
    go(round.address)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    tell('toast', { text: error.message })
  } finally {
    if (number === submitted) button.removeAttribute('aria-busy')
  }
}

/** As the search stands in the address, with the dataset that it goes by. */
function query () {
  const given = asked()
  given.delete('cursor')
  if (!given.get('dataset')) given.set('dataset', dataset())
  return given.toString()
}

function go (to) {
  if (!window.htmx) return location.assign(to)
  window.htmx.ajax('GET', to, { source: bar, target: '#results', swap: 'outerHTML show:window:top' })
}

find('.go', bar).addEventListener('click', refine)
bar.addEventListener('click', (event) => {
  const link = event.target.closest('a[data-go]')
  if (!link?.href || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return
  event.preventDefault()
  go(link.getAttribute('href'))
})

/** Whether this search may be part of a refinement: only then the server is asked. */
const mayBeRound = (stored) => asked().has('concept') || Boolean(stored?.refined)

function restore (stored) {
  marks.clear()
  seen.clear()
  for (const [id, good] of stored?.marks ?? []) marks.set(id, good)
  for (const id of stored?.seen ?? []) seen.add(id)
  slider.value = stored?.pull ?? 0
}

/** False when the results are others by the time that the answer comes. */
async function ask () {
  const of = here
  const told = await send(`${bar.dataset.history}?${new URLSearchParams({ search: query() })}`, {}, { method: 'GET' })
  if (here !== of) return false
  rounds = told
  return true
}

/** In a tab that knows nothing of it, a round has the marks that it was made of. */
function adoptMarks () {
  for (const id of rounds.good ?? []) marks.set(id, true)
  for (const id of rounds.bad ?? []) marks.set(id, false)
  if (rounds.strength) slider.value = Math.round(Math.log2(rounds.strength))
}

async function recall () {
  const stored = read(here)
  restore(stored)
  rounds = NONE
  show()
  if (!mayBeRound(stored)) return
  try {
    if (!await ask()) return
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    return // the steps stay away, and the marks can be used all the same
  }
  if (!stored) adoptMarks()
  show()
}

// -- the bar

/** Of the hits shown now, those marked since they are shown. */
function marksOfNow () {
  const before = new Set([...rounds.good ?? [], ...rounds.bad ?? []])
  const now = [...marks].filter(([id]) => !before.has(id))
  return now.length ? { good: now.filter(([, good]) => good).length, all: now.length } : null
}

function step ({ id, name, address, on_way: onWay, marks }) {
  const item = find('template.step', bar).content.firstElementChild.cloneNode(true)
  const link = find('a', item)
  const isHere = id === rounds.current
  const told = (isHere && marksOfNow()) || marks
  link.href = address
  link.classList.toggle('aside', !onWay)
  if (isHere) link.ariaCurrent = 'step'
  find('b', link).textContent = name
  find('span', link).textContent = told ? `${told.good} of ${told.all} good` : ''
  link.title = id ? `Round ${name}` : 'The search as it began'
  if (told) link.title += `: ${told.good} of ${told.all} marked good`
  link.ariaLabel = link.title
  return item
}

function point (link, to, words) {
  if (to) link.href = to
  else link.removeAttribute('href')
  link.role = to ? null : 'link' // without an address it is none by itself
  link.ariaDisabled = to ? null : 'true'
  if (words) link.textContent = words
}

function showSteps () {
  const nav = find('.steps', bar)
  nav.hidden = !rounds.steps.length
  if (nav.hidden) return
  find('ol', nav).replaceChildren(...rounds.steps.map(step))
  point(find('.back', nav), rounds.back)
  point(find('.ahead', nav), rounds.ahead)
  const other = find('.seen', nav)
  other.hidden = !rounds.other
  point(other, rounds.other, rounds.with_seen ? 'Hide what was seen' : 'Show what was seen, too')
  // Not by scrollIntoView, which would move the page as well.
  const [list, current] = [find('ol', nav), find('[aria-current]', nav)]
  if (current) list.scrollLeft = current.offsetLeft - list.offsetLeft - list.clientWidth / 2
}

function show () {
  showMarks()
  const isUsed = isSearch() && (marks.size > 0 || rounds.steps.length > 0)
  const good = ids(true).length
  bar.hidden = !isUsed
  document.body.toggleAttribute('data-refining', isUsed)
  if (!isUsed) return
  list(true)
  list(false)
  find('.tally [role=status]', bar).textContent = marks.size ? `${good} good, ${marks.size - good} bad` : 'No marks'
  find('.unfold', bar).hidden = false
  find('.go', bar).disabled = !marks.size
  find('.clear', bar).hidden = !marks.size
  slider.ariaValueText = PULLS[slider.value]
  const save = find('.keeps', bar)
  save.hidden = !rounds.current
  if (save.matches('a')) save.search = new URLSearchParams({ next: address() })
  showSteps()
}

new ResizeObserver(() => {
  document.body.style.setProperty('--refine', `${bar.offsetHeight}px`)
}).observe(bar)

// -- saving a round as a concept

function openDialog () {
  const which = find('select', dialog)
  const options = (rounds.concepts ?? []).map(({ id, name }) => new Option(`The next version of “${name}”`, id))
  which.replaceChildren(which.options[0], ...options)
  find('.which', dialog).hidden = !options.length
  find('[name=name]', dialog).value = rounds.label ?? ''
  find('.wrong', dialog).hidden = true
  choose()
  dialog.showModal()
  find('[name=name]', dialog).select()
}

function choose () {
  for (const part of findAll('.new', dialog)) part.hidden = Boolean(find('select', dialog).value)
}

async function save (event) {
  event.preventDefault()
  const wrong = find('.wrong', dialog)
  try {
    const data = { ...Object.fromEntries(new FormData(event.target)), round: rounds.current }
    const done = await send(event.target.action, data)
    if (!done.toast) throw new Refused('You are signed out. Sign in, then save it again.', 403)
    dialog.close()
    tell('toast', { ...done.toast, after: relist })
    await relist()
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    wrong.textContent = error.message
    wrong.hidden = false
  }
}

/** Which concepts there are has changed. */
async function relist () {
  if (await ask()) show()
}

if (dialog) {
  find('button.keeps', bar).addEventListener('click', openDialog)
  find('select', dialog).addEventListener('change', choose)
  find('.cancel', dialog).addEventListener('click', () => dialog.close())
  find('form', dialog).addEventListener('submit', save)
}

// -- results that come and go

function arrange () {
  watch()
  if (address() === here) return show()
  here = address()
  recall()
}

heed('settled', arrange)
heed('opened', showMarks)
arrange()
bind('r', 'Refine by the marks', () => {
  if (!marks.size || bar.hidden || find('dialog:modal')) return false
  refine()
})
