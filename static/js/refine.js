// The bar that refines a search by marks, goes back and forth between rounds, and saves
// a round as a concept.

import { emit, find, findAll, listen, RequestError, send } from './dom.js'
import { bind } from './keys.js'
import {
  bar, dataset, ids, isSearch, listMarks, marks, parameters, read, restore, search, seen, showMarks, slider, state,
  store, veiled, watch
} from './marks.js'
import { begin, go, resultsAddress } from './navigation.js'

const NO_ROUNDS = { steps: [] }

const dialog = find('#save-concept')
let rounds = NO_ROUNDS // the answer of refine-history

function setRounds (answer) {
  rounds = answer
  search.refined = answer.steps.length > 0
}

// -- rounds

async function refine () {
  const isLatest = begin()
  const button = find('.go', bar)
  button.setAttribute('aria-busy', 'true')
  const sent = { ...state(), refined: true }
  try {
    store(search.address, sent)
    const round = await send(bar.dataset.refine, {
      search: query(),
      good: ids(true).join(),
      bad: ids(false).join(),
      shown: [...seen].join(),
      strength: 2 ** Number(slider.value)
    })
    if (!isLatest()) return // the user has done something else meanwhile
    store(round.address, { ...sent, seen: [] })
    go(round.address)
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    emit('toast', { text: error.message })
  } finally {
    button.removeAttribute('aria-busy')
  }
}

/** The query string of the search, with the dataset even where the address leaves it out. */
function query () {
  const asked = parameters()
  asked.delete('cursor')
  if (!asked.get('dataset')) asked.set('dataset', dataset())
  return asked.toString()
}

find('.go', bar).addEventListener('click', refine)
bar.addEventListener('click', (event) => {
  const link = event.target.closest('a[data-go]')
  if (!link?.href || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return
  event.preventDefault()
  go(link.getAttribute('href'))
})

/** Whether this search may have rounds; if not, the server need not be asked. */
const mayBeRound = (stored) => parameters().has('concept') || Boolean(stored?.refined)

/** Load the rounds; return false if the results have been replaced meanwhile. */
async function loadRounds () {
  const { address } = search
  const answer = await send(`${bar.dataset.history}?${new URLSearchParams({ search: query() })}`, {}, { method: 'GET' })
  if (search.address !== address) return false
  setRounds(answer)
  return true
}

/** In a tab that has stored nothing for a round, show the marks that made it. */
function adoptMarks () {
  for (const id of rounds.good ?? []) marks.set(id, true)
  for (const id of rounds.bad ?? []) marks.set(id, false)
  for (const id of rounds.veiled ?? []) veiled.add(id)
  if (rounds.strength) slider.value = Math.round(Math.log2(rounds.strength))
}

async function load () {
  const stored = read(search.address)
  restore(stored)
  setRounds(NO_ROUNDS)
  show()
  if (!mayBeRound(stored)) return
  try {
    if (!await loadRounds()) return
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    return // marks work without the list of rounds
  }
  if (!stored) adoptMarks()
  show()
}

// -- the bar

/** Counts of the marks that are not part of an earlier round; null without any. */
function newMarks () {
  const before = new Set([...rounds.good ?? [], ...rounds.bad ?? []])
  const added = [...marks].filter(([id]) => !before.has(id))
  return added.length ? { good: added.filter(([, good]) => good).length, all: added.length } : null
}

function step ({ id, name, address, on_way: onWay, marks }) {
  const item = find('template.step', bar).content.firstElementChild.cloneNode(true)
  const link = find('a', item)
  const isHere = id === rounds.current
  const counts = (isHere && newMarks()) || marks
  link.href = address
  link.classList.toggle('aside', !onWay)
  if (isHere) link.ariaCurrent = 'step'
  find('b', link).textContent = name
  find('span', link).textContent = counts ? `${counts.good} of ${counts.all} relevant` : ''
  link.title = id ? `Round ${name}` : 'Initial search'
  if (counts) link.title += `: ${counts.good} of ${counts.all} marked relevant`
  link.ariaLabel = link.title
  return item
}

function setLink (link, address, text) {
  if (address) link.href = address
  else link.removeAttribute('href')
  link.role = address ? null : 'link' // an `a` without href has no role
  link.ariaDisabled = address ? null : 'true'
  if (text) link.textContent = text
}

function showSteps () {
  const nav = find('.steps', bar)
  nav.hidden = !rounds.steps.length
  if (nav.hidden) return
  find('ol', nav).replaceChildren(...rounds.steps.map(step))
  setLink(find('.back', nav), rounds.back)
  setLink(find('.ahead', nav), rounds.ahead)
  const other = find('.seen', nav)
  other.hidden = !rounds.other
  setLink(other, rounds.other, rounds.with_seen ? 'Hide already seen' : 'Include already seen')
  // scrollIntoView would scroll the page as well.
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
  if (save.matches('a')) save.search = new URLSearchParams({ next: resultsAddress() })
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
  const notice = find('.wrong', dialog)
  try {
    const data = { ...Object.fromEntries(new FormData(event.target)), round: rounds.current }
    const answer = await send(event.target.action, data)
    if (!answer.toast) throw new RequestError('You are signed out. Sign in, then save it again.', 403)
    dialog.close()
    emit('toast', { ...answer.toast, after: reload })
    await reload()
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    notice.textContent = error.message
    notice.hidden = false
  }
}

/** Saving a concept changes the list of concepts that a round can become a version of. */
async function reload () {
  if (await loadRounds()) show()
}

if (dialog) {
  find('button.keeps', bar).addEventListener('click', openDialog)
  find('select', dialog).addEventListener('change', choose)
  find('.cancel', dialog).addEventListener('click', () => dialog.close())
  find('form', dialog).addEventListener('submit', save)
}

// -- new results

function arrange () {
  watch()
  if (resultsAddress() === search.address) return show()
  search.address = resultsAddress()
  load()
}

listen('marked', show)
listen('settled', arrange)
listen('attached', showMarks)
listen('opened', showMarks)
arrange()
bind('r', 'Refine with the marks', () => {
  if (!marks.size || bar.hidden || find('dialog:modal')) return false
  refine()
})
