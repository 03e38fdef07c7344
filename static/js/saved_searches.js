// The page of saved searches and of the history.

import { find, findAll, Refused, send } from './dom.js'
import { toast } from './toast.js'

const AT_ONCE = 2 // searches that the page has made for it at the same time
const list = find('ol.saved')

// -- a glance at each, when it comes into sight, few at a time

const due = []
let running = 0

function runNext () {
  while (running < AT_ONCE && due.length) {
    running++
    window.htmx.trigger(due.shift(), 'glance')
  }
}

const inSight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue
    inSight.unobserve(target)
    due.push(target)
  }
  runNext()
}, { rootMargin: '200px' })

document.addEventListener('htmx:beforeSwap', ({ detail }) => {
  if (detail.isError) detail.shouldSwap = false
})
document.addEventListener('htmx:afterRequest', ({ detail }) => {
  running--
  const { target, successful } = detail
  target.removeAttribute('aria-busy')
  if (!successful) {
    const sentence = document.createElement('p')
    sentence.className = 'told'
    sentence.textContent = 'This took too long, or the server did not answer. Open it to search.'
    target.replaceChildren(sentence)
  }
  runNext()
})

// A picture that is gone leaves its place to the next.
document.addEventListener('error', ({ target }) => {
  if (target.matches?.('.strip img')) target.closest('a').remove()
}, true)

// -- order: by dragging, by keys, by the buttons of the menu

const rows = () => [...list.children]
const nameOf = (row) => find('h2', row).textContent

async function keepPlace (row, before) {
  try {
    await send(`/searches/${row.dataset.key}/move`, { after: row.previousElementSibling?.dataset.key ?? '' })
    find('#moved').textContent = `${nameOf(row)}: now ${rows().indexOf(row) + 1} of ${rows().length}`
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    list.insertBefore(row, before)
    toast({ text: error.message })
  }
}

function step (row, down) {
  const before = row.nextElementSibling
  const other = down ? before : row.previousElementSibling
  if (!other) return
  if (down) other.after(row)
  else other.before(row)
  keepPlace(row, before)
}

list.addEventListener('keydown', (event) => {
  if (!event.target.matches('.grip') || !['ArrowUp', 'ArrowDown'].includes(event.key)) return
  event.preventDefault()
  step(event.target.closest('li'), event.key === 'ArrowDown')
  event.target.focus()
})

let dragged = null
list.addEventListener('pointerdown', (event) => {
  const grip = event.target.closest('.grip')
  if (!grip || event.button) return
  const row = grip.closest('ol > li')
  dragged = { row, before: row.nextElementSibling }
  row.classList.add('dragged')
  grip.setPointerCapture(event.pointerId)
})
list.addEventListener('pointermove', ({ clientY }) => {
  if (!dragged) return
  const { row } = dragged
  const below = rows().find((each) => {
    const { top, height } = each.getBoundingClientRect()
    return each !== row && clientY < top + height / 2
  })
  if ((below ?? null) !== row.nextElementSibling) list.insertBefore(row, below ?? null)
})
function drop () {
  if (!dragged) return
  const { row, before } = dragged
  dragged = null
  row.classList.remove('dragged')
  if (row.nextElementSibling !== before) keepPlace(row, before)
}
list.addEventListener('pointerup', drop)
list.addEventListener('pointercancel', drop)

// -- what else can be done with one of them

/** Out of the page; the answer is a function that puts it back. */
function takeOut (row) {
  const { parentElement: parent, nextElementSibling: next } = row
  const neighbour = next ?? row.previousElementSibling
  row.remove()
  showWhetherEmpty()
  ;(neighbour && find('a, button, summary', neighbour))?.focus()
  return () => {
    parent.insertBefore(row, next?.parentElement === parent ? next : null)
    showWhetherEmpty()
    find('a, button', row)?.focus()
  }
}

function showWhetherEmpty () {
  find('.notice.none').hidden = rows().length > 0
  // Days of the history from which all was taken out.
  for (const past of findAll('.past')) {
    past.hidden = past.previousElementSibling.hidden = !past.children.length
  }
}

function call (row, name) {
  find('h2 a, h2', row).textContent = name
  find('[name=name]', row).value = name
  find('.grip', row).ariaLabel = `Move ${name}`
  find('summary', row).ariaLabel = `Change ${name}`
}

const DEEDS = {
  async delete (form, row) {
    const { toast: told } = await send(form.action)
    toast({ ...told, after: takeOut(row) })
  },
  async rename (form, row) {
    const before = nameOf(row)
    const { toast: told, name } = await send(form.action, Object.fromEntries(new FormData(form)))
    call(row, name)
    find('details', row).open = false
    find('summary', row).focus()
    toast({ ...told, after: () => call(row, before) })
  },
  async save (form) {
    const { toast: told } = await send(form.action, Object.fromEntries(new FormData(form)))
    toast({ text: told.text, undo: told.undo, after: () => location.reload() })
    find('button', form).disabled = true
  },
  async move (form, row, submitter) {
    step(row, submitter.value === 'down')
    submitter.focus()
  }
}

document.addEventListener('submit', async (event) => {
  const form = event.target
  const deed = DEEDS[form.dataset.does]
  if (!deed) return
  event.preventDefault()
  try {
    await deed(form, form.closest('[data-key], .past > li'), event.submitter)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    toast({ text: error.message })
  }
})

// -- menus close by themselves

function closeMenus (kept) {
  for (const menu of findAll('.menu-of[open]')) {
    if (!menu.contains(kept)) menu.open = false
  }
}
document.addEventListener('click', ({ target }) => closeMenus(target))
document.addEventListener('keydown', ({ key }) => {
  const open = find('.menu-of[open]')
  if (key !== 'Escape' || !open) return
  open.open = false
  find('summary', open).focus()
})

/** htmx is there when the page is; it loads beside this module. */
for (const glance of findAll('.glance')) inSight.observe(glance)
