// The page of saved searches and the history.

import { find, findAll, RequestError, send } from './dom.js'
import { dragByGrip } from './reorder.js'
import { toast, toastErrors } from './toast.js'

const MAX_PREVIEWS = 2 // searches at the same time
const list = find('ol.saved')

// -- a preview of each that becomes visible, few at a time

const queue = []
let running = 0

function runNext () {
  while (running < MAX_PREVIEWS && queue.length) {
    running++
    window.htmx.trigger(queue.shift(), 'glance')
  }
}

const visible = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue
    visible.unobserve(target)
    queue.push(target)
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
    const notice = document.createElement('p')
    notice.className = 'told'
    notice.textContent = 'The server did not answer in time. Open the search to run it.'
    target.replaceChildren(notice)
  }
  runNext()
})

// The next image takes the place of one that fails to load.
document.addEventListener('error', ({ target }) => {
  if (target.matches?.('.strip img')) target.closest('a').remove()
}, true)

// -- order: by dragging, by keys, by the menu

const rows = () => [...list.children]
const nameOf = (row) => find('h2', row).textContent

/** Store the place of a row; move it back before `origin` if that fails. */
async function storePlace (row, origin) {
  try {
    await send(`/searches/${row.dataset.key}/move`, { after: row.previousElementSibling?.dataset.key ?? '' })
    find('#moved').textContent = `${nameOf(row)}: now ${rows().indexOf(row) + 1} of ${rows().length}`
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    list.insertBefore(row, origin)
    toast({ text: error.message })
  }
}

function step (row, down) {
  const origin = row.nextElementSibling
  const other = down ? origin : row.previousElementSibling
  if (!other) return
  if (down) other.after(row)
  else other.before(row)
  storePlace(row, origin)
}

list.addEventListener('keydown', (event) => {
  if (!event.target.matches('.grip') || !['ArrowUp', 'ArrowDown'].includes(event.key)) return
  event.preventDefault()
  step(event.target.closest('li'), event.key === 'ArrowDown')
  event.target.focus()
})

let origin = null // the row after the dragged one, before the drag
dragByGrip({
  root: list,
  itemOf: (grip) => grip.closest('ol > li'),
  start (row) {
    origin = row.nextElementSibling
    row.classList.add('dragged')
  },
  move (row, x, y) {
    const below = rows().find((each) => {
      const { top, height } = each.getBoundingClientRect()
      return each !== row && y < top + height / 2
    })
    if ((below ?? null) !== row.nextElementSibling) list.insertBefore(row, below ?? null)
  },
  end (row) {
    row.classList.remove('dragged')
    if (row.nextElementSibling !== origin) storePlace(row, origin)
  }
})

// -- delete, rename, save from the history

/** Remove a row from the page; return a function that puts it back. */
function takeOut (row) {
  const { parentElement: parent, nextElementSibling: next } = row
  const neighbour = next ?? row.previousElementSibling
  row.remove()
  showEmptyNotice()
  ;(neighbour && find('a, button, summary', neighbour))?.focus()
  return () => {
    parent.insertBefore(row, next?.parentElement === parent ? next : null)
    showEmptyNotice()
    find('a, button', row)?.focus()
  }
}

function showEmptyNotice () {
  find('.notice.none').hidden = rows().length > 0
  // Hide the days of the history that have become empty.
  for (const past of findAll('.past')) {
    past.hidden = past.previousElementSibling.hidden = !past.children.length
  }
}

function showName (row, name) {
  find('h2 a, h2', row).textContent = name
  find('[name=name]', row).value = name
  find('.grip', row).ariaLabel = `Move ${name}`
  find('summary', row).ariaLabel = `Change ${name}`
}

const ACTIONS = {
  async delete (form, row) {
    const { toast: answer } = await send(form.action)
    toast({ ...answer, after: takeOut(row) })
  },
  async rename (form, row) {
    const before = nameOf(row)
    const { toast: answer, name } = await send(form.action, Object.fromEntries(new FormData(form)))
    showName(row, name)
    find('details', row).open = false
    find('summary', row).focus()
    toast({ ...answer, after: () => showName(row, before) })
  },
  async save (form) {
    const { toast: answer } = await send(form.action, Object.fromEntries(new FormData(form)))
    toast({ ...answer, after: () => location.reload() })
    find('button', form).disabled = true
  },
  async move (form, row, submitter) {
    step(row, submitter.value === 'down')
    submitter.focus()
  }
}

document.addEventListener('submit', (event) => {
  const form = event.target
  const action = ACTIONS[form.dataset.action]
  if (!action) return
  event.preventDefault()
  toastErrors(() => action(form, form.closest('[data-key], .past > li'), event.submitter))
})

// -- menus close at a click outside and by Escape

function closeMenus (target) {
  for (const menu of findAll('.menu-of[open]')) {
    if (!menu.contains(target)) menu.open = false
  }
}
document.addEventListener('click', ({ target }) => closeMenus(target))
document.addEventListener('keydown', ({ key }) => {
  const open = find('.menu-of[open]')
  if (key !== 'Escape' || !open) return
  open.open = false
  find('summary', open).focus()
})

for (const glance of findAll('.glance')) visible.observe(glance)
