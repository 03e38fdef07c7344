// The rounds that are made of marks: the bar that refines, and goes back and on.

import { find, findAll, heed, Refused, send, tell } from './dom.js'
import { bind } from './keys.js'
import {
  address, asked, bar, dataset, ids, isSearch, keep, listMarks, marks, read, restore, search, seen, showMarks,
  slider, state, watch
} from './marks.js'

const NONE = { steps: [] }

const dialog = find('#save-concept')
let rounds = NONE

function take (told) {
  rounds = told
  search.refined = told.steps.length > 0
}

// -- rounds

let submitted = 0
async function refine () {
  const number = ++submitted
  const button = find('.go', bar)
  button.setAttribute('aria-busy', 'true')
  const given = { ...state(), refined: true }
  try {
    keep(search.address, given)
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

/** False when the results are others by the time that the answer comes. */
async function ask () {
  const of = search.address
  const told = await send(`${bar.dataset.history}?${new URLSearchParams({ search: query() })}`, {}, { method: 'GET' })
  if (search.address !== of) return false
  take(told)
  return true
}

/** In a tab that knows nothing of it, a round has the marks that it was made of. */
function adoptMarks () {
  for (const id of rounds.good ?? []) marks.set(id, true)
  for (const id of rounds.bad ?? []) marks.set(id, false)
  if (rounds.strength) slider.value = Math.round(Math.log2(rounds.strength))
}

async function recall () {
  const stored = read(search.address)
  restore(stored)
  take(NONE)
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
  bar.hidden = !isUsed
  document.body.toggleAttribute('data-refining', isUsed)
  if (!isUsed) return
  listMarks()
  find('.unfold', bar).hidden = false
  find('.go', bar).disabled = !marks.size
  find('.clear', bar).hidden = !marks.size
  const save = find('.keeps', bar)
  save.hidden = !rounds.current
  if (save.matches('a')) save.search = new URLSearchParams({ next: address() })
  showSteps()
}

find('.unfold', bar).addEventListener('click', ({ currentTarget }) => {
  const open = bar.classList.toggle('open')
  currentTarget.ariaExpanded = open
})

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
  if (address() === search.address) return show()
  search.address = address()
  recall()
}

heed('marked', show)
heed('settled', arrange)
heed('opened', showMarks)
arrange()
bind('r', 'Refine by the marks', () => {
  if (!marks.size || bar.hidden || find('dialog:modal')) return false
  refine()
})
