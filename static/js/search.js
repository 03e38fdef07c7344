// The page searches without this script. It adds dropped and pasted pictures, and what
// htmx cannot know about the page.

import { find, findAll, tell } from './dom.js'
import { bind } from './keys.js'

const PREVIEW_SIZE = 96
const UPLOAD_SIZE = 1600
const MOST_BYTES = 10 * 2 ** 20 // as in search/pictures.py
const PENDING = 'picture:pending'

const search = find('#search')
const box = find('#q')
const pictureForm = find('#picture')
const pictureInput = find('#picture-file')
const dropZone = find('#drop')

// -- keyboard and choices

bind('/', 'Go to the search box', () => {
  box.focus()
  box.select()
})
bind('Escape', 'Close what is open', closeOptions)

function closeOptions () {
  for (const options of findAll('details.options[open]')) {
    const held = options.contains(document.activeElement)
    options.open = false
    if (held) find('summary', options).focus()
  }
  return false // others may have something to close, too
}

document.addEventListener('click', (event) => {
  if (!event.target.closest('details.options')) closeOptions()
})
search.addEventListener('submit', ({ submitter }) => {
  if (submitter) closeOptions() // and not when a box in them was ticked
})

function isSearch () {
  return Boolean(box.value.trim() || find('input[type=hidden][form=search]'))
}

search.addEventListener('change', (event) => {
  const { name } = event.target
  if (name === 'dataset') {
    // An item belongs to its dataset, and an embedding to its dataset's model.
    for (const chip of findAll('input[type=hidden][form=search]')) chip.remove()
    search.requestSubmit()
  } else if (['radio', 'checkbox'].includes(event.target.type) && isSearch()) {
    search.requestSubmit()
  }
})

/** The address is the truth about the search; the form follows it. */
function showAddressInForm () {
  const asked = new URLSearchParams(location.search)
  box.value = asked.get('q') ?? ''
  for (const radio of search.elements.field) radio.checked = radio.value === (asked.get('field') ?? 'image')
  for (const input of findAll('.options input', search)) {
    const value = asked.get(input.name) ?? ''
    if (input.type === 'checkbox') input.checked = value === input.value
    else input.value = value
  }
  if (asked.get('dataset')) search.elements.dataset.value = asked.get('dataset')
}

// -- searching by a picture

function remember (key, value) {
  try {
    sessionStorage.setItem(key, value)
  } catch {
    // The storage is full or forbidden: the chip then goes without a preview.
  }
}

function recall (key) {
  try {
    return sessionStorage.getItem(key)
  } catch {
    return null
  }
}

function forget (key) {
  try {
    sessionStorage.removeItem(key)
  } catch {
    // Nothing is kept where storage is forbidden.
  }
}

async function scaled (file, size) {
  const picture = await createImageBitmap(file)
  const scale = Math.min(1, size / Math.max(picture.width, picture.height))
  const canvas = document.createElement('canvas')
  canvas.width = Math.max(1, Math.round(picture.width * scale))
  canvas.height = Math.max(1, Math.round(picture.height * scale))
  canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height)
  picture.close()
  return canvas
}

function put (file) {
  const chosen = new DataTransfer()
  chosen.items.add(file)
  pictureInput.files = chosen.files
}

/** Pictures the server would refuse for their size still show the same when smaller. */
async function shrunk (file) {
  const canvas = await scaled(file, UPLOAD_SIZE)
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.92))
  return new File([blob], 'picture.jpg', { type: blob.type })
}

let taken = 0
async function searchByPicture () {
  const [file] = pictureInput.files
  if (!file) return
  const number = ++taken
  const chosen = new FormData(search)
  for (const input of findAll('input[type=hidden]:not([name=csrfmiddlewaretoken])', pictureForm)) {
    input.value = chosen.get(input.name) ?? ''
  }
  forget(PENDING)
  try {
    const preview = (await scaled(file, PREVIEW_SIZE)).toDataURL('image/jpeg', 0.8)
    const smaller = file.size > MOST_BYTES ? await shrunk(file) : null
    if (number !== taken) return
    remember(PENDING, preview)
    if (smaller) put(smaller)
  } catch {
    // No picture, as far as this browser knows; the server has the last word.
  }
  if (number !== taken) return // another one came while this was made ready
  pictureForm.requestSubmit()
  // So that choosing the same file once more is a change again.
  if (window.htmx) pictureInput.value = ''
}

pictureInput.addEventListener('change', searchByPicture)

function take (files) {
  const picture = [...files].find((file) => file.type.startsWith('image/')) ?? files[0]
  if (!picture) return
  put(picture)
  searchByPicture()
}

document.addEventListener('paste', (event) => {
  const files = event.clipboardData?.files
  if (!files?.length) return
  event.preventDefault()
  take(files)
})

const bringsFile = (event) => event.dataTransfer?.types.includes('Files')

document.addEventListener('dragenter', (event) => {
  if (bringsFile(event)) dropZone.hidden = false
})
document.addEventListener('dragover', (event) => {
  if (!bringsFile(event)) return
  event.preventDefault()
  event.dataTransfer.dropEffect = 'copy'
})
document.addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) dropZone.hidden = true
})
document.addEventListener('drop', (event) => {
  dropZone.hidden = true
  if (!bringsFile(event)) return
  event.preventDefault()
  take(event.dataTransfer.files)
})

/** The picture never leaves this tab: only here can its chip show it. */
function showPreview () {
  const chip = find('[data-picture]')
  const pending = recall(PENDING)
  forget(PENDING)
  if (!chip) return
  const key = `picture:${chip.dataset.picture}`
  if (pending) remember(key, pending)
  const preview = pending ?? recall(key)
  if (!preview || chip.dataset.shown) return
  chip.dataset.shown = 'yes'
  chip.textContent = 'your picture'
  const image = new Image(32, 32)
  image.src = preview
  image.alt = ''
  chip.before(image)
}

// -- results that arrive

function arrange () {
  showPreview()
  tell('settled')
}

document.addEventListener('htmx:beforeRequest', (event) => {
  if (!event.target.closest('.more')) find('#announcement').textContent = 'Searching'
})

// Who pressed Load more goes on at the first of the new pictures.
let lastSeen = null
document.addEventListener('htmx:beforeSwap', ({ detail: { target } }) => {
  const pressed = target.matches('.more') && target.contains(document.activeElement)
  lastSeen = pressed ? target.previousElementSibling : null
})
document.addEventListener('htmx:afterSwap', () => {
  if (lastSeen) find('a', lastSeen.nextElementSibling)?.focus({ preventScroll: true })
  lastSeen = null
})

document.addEventListener('htmx:afterSettle', (event) => {
  const asker = event.detail.requestConfig?.elt
  if (!asker?.closest?.('.more')) {
    // Whoever typed on while waiting keeps what is in the box.
    const failed = find('#results .notice[role=alert]')
    if (asker !== search && !(asker === pictureForm && failed)) showAddressInForm()
    find('#announcement').textContent = find('#results .summary, #results .notice')?.textContent ?? ''
  }
  arrange()
})

document.addEventListener('htmx:historyRestore', () => {
  showAddressInForm()
  arrange()
})

function showFailure (notice) {
  const results = find('#unreachable').content.cloneNode(true)
  if (notice) find('.notice', results).replaceWith(notice)
  find('#results').replaceWith(results)
}

for (const failure of ['htmx:sendError', 'htmx:timeout']) {
  document.addEventListener(failure, (event) => {
    if (!event.target.closest('.more')) showFailure() // that link stays, for another press
  })
}

// An answer that is no part of this page, such as a proxy's, or the page for status 500.
document.addEventListener('htmx:beforeSwap', ({ detail }) => {
  const answer = new DOMParser().parseFromString(detail.xhr.responseText, 'text/html')
  if (!detail.isError || find('#results, .more, .hit', answer)) return
  detail.shouldSwap = false
  if (!detail.target.matches('.more')) showFailure(find('.notice', answer))
})

arrange()
